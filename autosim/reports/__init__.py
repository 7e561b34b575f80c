"""Pictures and pages of runs, comparisons and searches."""
