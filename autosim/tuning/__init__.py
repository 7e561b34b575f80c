"""Searches over an algorithm's settings, on Ray Tune."""
