"""Render actors on Ray: which work they get, and what happens where they are lost."""
