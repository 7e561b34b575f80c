"""Scenes read off pictures, and a distribution read off scenes."""
