"""MultiMNIST: how many digits and which, on one canvas (Meta-Sim2 §4.1, Figures 6 and 7)."""
