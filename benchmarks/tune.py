"""Tune one method on one environment: ``python benchmarks/tune.py --algo metasim --env clevr``; see ``--help``."""

import sys

from autosim.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["tune", *sys.argv[1:]]))
