"""CLEVR: three objects on a plane under two learnable lights, segmented by shape (AutoSimulate supplement, Table 1)."""
