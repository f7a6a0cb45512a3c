"""Models from a directory, on this machine."""
