"""Runs to figures, figures to tables: ``python benchmarks/evidence.py RUN_DIR... --name clevr``; see ``--help``."""

import sys

from autosim.experiments.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["evidence", *sys.argv[1:]]))
