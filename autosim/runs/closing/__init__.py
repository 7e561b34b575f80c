"""The closing evaluation: test scores of the starting distribution, of the learned one and of the target's own.

Each is that of fresh networks trained on frames of the distribution: same number, schedule and seeds for all.
"""
