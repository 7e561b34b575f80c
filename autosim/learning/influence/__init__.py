"""Influences of training frames on the validation loss."""
