"""Renderers whose pictures Blender's Cycles draws, in processes of their own."""
