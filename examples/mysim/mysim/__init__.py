"""An environment and an algorithm of one's own for autosim."""
