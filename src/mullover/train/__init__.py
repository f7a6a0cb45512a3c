"""Training: from nothing by generated problems, and of any Hugging Face model on a file of examples."""
