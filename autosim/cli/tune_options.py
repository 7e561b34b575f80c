"""From the arguments of ``autosim tune`` to a :class:`TuneRequest`, new or taken up from the folder of a search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from autosim import registry
from autosim.cli.options import add_options, build, options_of, parse
from autosim.cli.run_options import parse_run, read_config, run_help, select
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.search_space import Dimension
from autosim.tuning.request import TuneRequest, TuneSettings

# What may change when a search is resumed: how much is tried and how it is spread, but not what.
FREE = ("samples", "concurrent")
OPTIONS = tuple(options_of(TuneSettings, title="tuning"))
OWN = (*(option.key for option in OPTIONS), "resume")


def parse_tune(arguments: Sequence[str]) -> TuneRequest:
    """The search that arguments ask for; ``UserError`` in one line where they are wrong."""
    own, rest = select(arguments, OWN)
    resume = Path(own.pop("resume")) if "resume" in own else None
    given = [f"--{key}={value}" for key, value in own.items()]
    if resume is not None:
        return _resumed(resume, given, rest)
    request = parse_run(rest)
    named = [argument.partition("=")[0].removeprefix("--") for argument in select(rest)[1]]
    fixed = tuple(name.removeprefix("algo.") for name in named if name.startswith("algo."))
    # A trial renders and trains in its own process by default: so the whole search is fastest.
    workers = request.config.settings.workers if "workers" in named else 0
    config = replace(request.config, settings=replace(request.config.settings, workers=workers))
    return _request(config, _settings(given), fixed, request.out)


def tune_help(arguments: Sequence[str]) -> str:
    """Help: the options of tuning, then those of a run."""
    parser = ArgumentParser(
        prog="autosim tune",
        usage="%(prog)s --algo NAME --env NAME [--samples N] [options] | --resume DIR",
        description="Try an algorithm at other settings than its own, on Ray Tune. Options of the algorithm that are "
        "given are fixed, the others that it declares are tuned. Writes trials.json, and best.yaml for "
        "autosim run --config.",
        exit_on_error=False,
        add_help=False,
    )
    add_options(parser, OPTIONS)
    parser.add_argument_group("resuming").add_argument("--resume", metavar="DIR", help="go on with a search cut short")
    run_text = run_help(select(arguments, OWN)[1])
    text: str = parser.format_help()
    return f"{text}\noptions of the runs, as of autosim run:\n\n{run_text.partition(chr(10) * 2)[2]}"


def _resumed(path: Path, given: Sequence[str], rest: Sequence[str]) -> TuneRequest:
    for name in ("config.yaml", "tune.yaml"):
        if not (path / name).is_file():
            raise UserError(f"--resume {path}: not the folder of a search, {name} is missing")
    values, source = read_config(path / "tune.yaml")
    fixed = tuple(str(name) for name in values.pop("fixed", ()))
    stored = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    before, after = _settings(stored, source), _settings([*stored, *given])
    for name in (field.name for field in fields(TuneSettings) if field.name not in FREE):
        _require_same(path, name, getattr(before, name), getattr(after, name))
    config = parse_run([f"--config={path / 'config.yaml'}"]).config
    repeated = parse_run([f"--config={path / 'config.yaml'}", *rest])
    changed = replace(repeated.config, settings=replace(repeated.config.settings, workers=config.settings.workers))
    old, new = dict(_flat(config.to_dict())), dict(_flat(changed.to_dict()))
    for name in {**old, **new}:
        _require_same(path, name.removesuffix(".name"), old.get(name), new.get(name))
    if repeated.out is not None and repeated.out != path:
        raise UserError(f"--out {repeated.out}: with --resume it can only be {path}")
    return _request(repeated.config, after, fixed, None, path)


def _request(
    config: RunConfig, settings: TuneSettings, fixed: tuple[str, ...], out: Path | None, resume: Path | None = None
) -> TuneRequest:
    declared = registry.find_algorithm(config.algo).search_space()
    if not declared:
        raise UserError(f"algorithm {config.algo!r} declares no search space: there is nothing to tune")
    request = TuneRequest(config, settings, _space(declared, settings.dimensions, fixed), fixed, out, resume)
    _ = request.samples
    return request


def _space(declared: Mapping[str, Dimension], chosen: str | None, fixed: Sequence[str]) -> dict[str, Dimension]:
    """The dimensions to tune; ``UserError`` where one is not declared, is given a value, or none is left."""
    if chosen is None:
        space = {name: dimension for name, dimension in declared.items() if name not in fixed}
        if not space:
            raise UserError(f"nothing is left to tune: all of {', '.join(declared)} are given")
        return space
    names = list(dict.fromkeys(name.strip().replace("-", "_").removeprefix("algo.") for name in chosen.split(",")))
    for name in names:
        if name not in declared:
            raise UserError(f"--dimensions: {name!r} is none that can be tuned; there are: {', '.join(declared)}")
        if name in fixed:
            raise UserError(f"--dimensions: {name!r} is also given a value, --algo.{name}")
    return {name: declared[name] for name in names}


def _settings(arguments: Sequence[str], source: str = "") -> TuneSettings:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_options(parser, OPTIONS)
    return build(TuneSettings, parse(parser, OPTIONS, list(arguments), source))


def _require_same(path: Path, name: str, before: Any, after: Any) -> None:
    if before != after:
        raise UserError(f"--{name}: {after} is not what {path} was begun with, {before}; start a new search instead")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return flat
