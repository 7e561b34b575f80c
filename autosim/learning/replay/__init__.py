"""What earlier steps have drawn, used again with importance weights."""
