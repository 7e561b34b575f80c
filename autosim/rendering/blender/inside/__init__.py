"""What runs within Blender's own Python: nothing here may import more than Blender, numpy and the standard library."""
