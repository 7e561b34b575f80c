"""From the arguments of ``autosim export`` to what is to be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentParser

from autosim.cli.options import add_options, build, options_of, parse
from autosim.cli.run_options import parse_run, select
from autosim.errors import UserError
from autosim.export.settings import ExportSettings
from autosim.runs.config import RunConfig, available_cpus

OPTIONS = tuple(options_of(ExportSettings, title="data set"))
USAGE = "autosim export FOLDER --out DIR [--count N] [--format NAME] [options]"
DESCRIPTION = (
    "Write a data set that is drawn from what a run has learned, FOLDER being the run's. The same command goes on with "
    "an export that was stopped, at whatever moment; the files do not depend on that, nor on the workers."
)


@dataclass(frozen=True)
class ExportRequest:
    """What a command line asks for."""

    folder: Path
    config: RunConfig
    settings: ExportSettings
    out: Path
    workers: int


def parse_export(arguments: Sequence[str]) -> ExportRequest:
    """The export that arguments ask for; ``UserError`` in one line where they are wrong."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"export needs the folder of a run first: {USAGE}")
    folder = Path(arguments[0])
    chosen, rest = select(arguments[1:], ("out", "workers"))
    if "out" not in chosen:
        raise UserError("--out DIR is needed: the folder that the data set is written to")
    settings = build(ExportSettings, parse(_parser(), OPTIONS, rest))
    if not (folder / "config.yaml").is_file():
        raise UserError(f"run folder {folder}: there is no config.yaml in it")
    config = parse_run(["--config", str(folder / "config.yaml")]).config
    return ExportRequest(folder, config, settings, Path(chosen["out"]), _workers(chosen.get("workers")))


def export_help() -> str:
    """Help."""
    parser = _parser()
    group = parser.add_argument_group("where")
    group.add_argument("--out", metavar="DIR", help="folder to write; new, empty, or that of the same export")
    group.add_argument("--workers", metavar="N", help="processes that render (default: the CPUs there are); 0 for one")
    text: str = parser.format_help()
    return text


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="autosim export", usage=USAGE, description=DESCRIPTION, exit_on_error=False, allow_abbrev=False
    )
    add_options(parser, OPTIONS)
    return parser


def _workers(given: str | None) -> int:
    if given is None:
        return available_cpus()
    if not given.isdecimal():
        raise UserError(f"--workers: expected a whole number of 0 or more, found {given}")
    return int(given)
