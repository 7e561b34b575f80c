"""The command ``autosim`` and its options."""
