"""Several endpoints of one model as one Model."""
