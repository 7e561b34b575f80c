"""Renderers on Mitsuba 3."""
