"""Methods side by side: ``python benchmarks/compare.py --env clevr --algos bo,random --seeds 5``; see ``--help``."""

import sys

from autosim.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["compare", *sys.argv[1:]]))
