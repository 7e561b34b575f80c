"""Render actors on Ray: how they get work, and what happens when one is lost."""
