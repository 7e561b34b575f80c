"""Data sets out of what a run has learned."""
