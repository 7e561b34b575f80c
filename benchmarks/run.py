"""One method on one environment: ``python benchmarks/run.py --algo metasim --env clevr``; see ``--help``."""

import sys

from autosim.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["run", *sys.argv[1:]]))
