"""The posterior over the parameters that a set of pictures was drawn with."""
