"""Tasks: the networks that the data is for."""
