"""MNIST: one digit, rotated, or rotated and moved; classified (Meta-Sim §4.1, Table 1)."""
