"""Data sets in files: one file a format, reading and writing side by side."""
