"""Image features for distribution matching."""
