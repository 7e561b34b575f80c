"""From the arguments of ``autosim compare`` to a :class:`Comparison`.

Every algorithm's options are offered under its own name, ``--bo.frames``; settings of the runs and options of the
environment as for ``autosim run``.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from autosim import registry
from autosim.cli.options import Option, add_options, build, options_of, parse
from autosim.cli.run_options import add_selection_help, environment_defaults, run_options, select
from autosim.comparison.plan import Comparison, Method, TargetRule
from autosim.errors import UserError
from autosim.runs.config import RunSettings, available_cpus
from autosim.runs.folder import RUNS

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env

DESCRIPTION = (
    "Compare methods on one environment under one budget: runs every algorithm with every seed, resumes what was "
    "finished before, and writes comparison.json, comparison.md and report.html. The budget of a run is 2,000 images "
    "where no other is given."
)
SELECTION = (
    ("--env NAME", "environment; there are: {environments}"),
    ("--algos NAME,NAME,…", "algorithms, a row each; there are: {algorithms}"),
    ("--ablation NAME", "instead of --algos: values of one option as rows, ALGO.OPTION"),
    ("--seeds N", "runs of each algorithm on each target, with seeds 0 to N-1 (default: 5)"),
    ("--targets N,N,…", "hidden targets, the environment's option target_seed (default: that option's own value)"),
    ("--workers N", "runs at once, each in one process with one thread (default: the CPUs there are); 0: in this one"),
    ("--target_score X", "validation score to reach (default: the median that the method of --target_setter reaches)"),
    ("--target_setter NAME", "row whose median score is the one to reach (default: the first listed)"),
    ("--reference NAME", "row that the others are measured by (default: the first listed)"),
    ("--out DIR", "folder to write to; one that holds the same comparison is resumed (default: one under runs/)"),
)  # fmt: skip
SELECTION_NAMES = tuple(option.split()[0].lstrip("-") for option, _ in SELECTION)
DEFAULT_SEEDS = 5
DEFAULT_IMAGES = 2000
OWN = ("seed", "workers")


def parse_comparison(arguments: Sequence[str]) -> Comparison:
    """The comparison that arguments ask for; ``UserError`` in one line where they are wrong."""
    chosen, rest = select(arguments, SELECTION_NAMES)
    if "env" not in chosen:
        raise UserError(f"--env NAME is needed; there are: {', '.join(registry.environment_names()) or 'none'}")
    environment = registry.find_environment(chosen["env"])
    algorithms, ablated = chosen_algorithms(chosen)
    refuse_strangers(rest, list(algorithms))
    options = comparison_options(algorithms, environment)
    parsed = parse(comparison_parser(options), options, rest)
    suited = suited_options(algorithms, chosen["env"], build(environment.Config, parsed, "env."))
    if suited:
        parsed = parse(comparison_parser(options), options, [*suited, *rest])
    parsed |= {"seed": 0, "workers": 0}
    settings = build(RunSettings, parsed)
    budget = settings.budget
    if budget.unlimited:
        settings = replace(settings, budget=replace(budget, images=DEFAULT_IMAGES))
    methods = tuple(
        Method(name, name, build(algorithm.Config, parsed, f"{name}.")) for name, algorithm in algorithms.items()
    )
    if ablated is not None:
        methods = variants(methods[0], ablated)
    labels = [method.label for method in methods]
    env_config: Any = build(environment.Config, parsed, "env.")
    return Comparison(
        env=chosen["env"],
        env_config=env_config,
        methods=methods,
        targets=_targets(chosen, rest, env_config),
        seeds=tuple(range(_integer(chosen, "seeds", DEFAULT_SEEDS, lowest=1))),
        settings=settings,
        rule=TargetRule(_score(chosen), _label(chosen, "target_setter", labels)),
        workers=_integer(chosen, "workers", available_cpus(), lowest=0),
        out=Path(chosen["out"])
        if "out" in chosen
        else RUNS / f"compare-{chosen['env']}-{datetime.now():%Y%m%d-%H%M%S}",
        reference=_label(chosen, "reference", labels),
        ablation=ablated,
    )


def suited_options(algorithms: Mapping[str, type[Algorithm]], env: str, env_config: Any) -> list[str]:
    """Options of the algorithms that the environment sets (``Env.defaults``), as arguments ``--NAME.X=VALUE``. What it
    sets of the run, a budget say, is left out: the settings of a comparison are the same for all.
    """
    found = []
    for name, algorithm in algorithms.items():
        options = run_options(algorithm, registry.find_environment(env))
        for key, argument in environment_defaults(name, env, env_config, options).items():
            if key.startswith("algo."):
                found.append(f"--{name}.{argument.removeprefix('--algo.')}")
    return found


def comparison_help(arguments: Sequence[str]) -> str:
    """Help; with algorithms and an environment named in the arguments, with the options of each."""
    chosen, _ = select(arguments, SELECTION_NAMES)
    environment = registry.find_environment(chosen["env"]) if "env" in chosen else None
    named = "algos" in chosen or "ablation" in chosen
    algorithms = chosen_algorithms(chosen)[0] if named else {}
    text: str = comparison_parser(comparison_options(algorithms, environment), with_selection=True).format_help()
    if not (named and environment):
        text += "\nWith --algos NAME,… --env NAME --help, their options (--NAME.X, --env.X) show too.\n"
    return text


def comparison_options(algorithms: Mapping[str, type[Algorithm]], environment: type[Env] | None) -> list[Option]:
    """Settings of every run but those that the comparison sets, options of the environment and of each algorithm."""
    options = [option for option in run_options(None, environment) if option.key not in OWN]
    for name, algorithm in algorithms.items():
        options += options_of(algorithm.Config, f"{name}.", title=f"algorithm {name}")
    return options


def comparison_parser(options: Sequence[Option], with_selection: bool = False) -> ArgumentParser:
    """The second stage's parser. ``with_selection`` adds what the first stage takes, for the help text only."""
    parser = ArgumentParser(
        prog="autosim compare",
        usage="%(prog)s --env NAME (--algos NAME,NAME,… | --ablation NAME) [--seeds N] [--out DIR] [options]",
        description=DESCRIPTION,
        exit_on_error=False,
        allow_abbrev=False,
    )
    if with_selection:
        add_selection_help(parser, "what to compare", SELECTION)
    add_options(parser, options)
    return parser


def chosen_algorithms(chosen: Mapping[str, str]) -> tuple[dict[str, type[Algorithm]], str | None]:
    """Algorithms by name, and the option whose values are compared where an ablation is asked for."""
    if "ablation" in chosen:
        if "algos" in chosen:
            raise UserError("--ablation chooses the algorithm itself; leave --algos out")
        algo, dot, option = chosen["ablation"].partition(".")
        if not (algo and dot and option):
            raise UserError(f"--ablation: {chosen['ablation']!r} is not ALGO.OPTION")
        return {algo: registry.find_algorithm(algo)}, option
    names = [name.strip() for name in chosen.get("algos", "").split(",") if name.strip()]
    if not names:
        raise UserError(f"--algos NAME,NAME,… is needed; there are: {', '.join(registry.algorithm_names()) or 'none'}")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--algos: {name!r} is named twice")
    return {name: registry.find_algorithm(name) for name in names}, None


def variants(method: Method, option: str) -> tuple[Method, ...]:
    """A method for each value that an option of a few values may take; ``UserError`` where it is no such option."""
    hint = get_type_hints(type(method.config)).get(option)
    if hint is None or option not in {field.name for field in dataclasses.fields(method.config)}:
        raise UserError(f"--ablation: algorithm {method.algo!r} has no option {option!r}")
    values = list(_values(hint))
    if len(values) < 2:
        raise UserError(f"--ablation: {method.algo}.{option} is not an option of a few values")
    made = []
    for value in values:
        label = value.name if isinstance(value, Enum) else str(value).lower()
        try:
            made.append(Method(label, method.algo, replace(method.config, **{option: value})))
        except (ValueError, OSError) as error:
            raise UserError(f"--{method.algo}.{option} {label}: {' '.join(str(error).split())}") from error
    return tuple(made)


def refuse_strangers(rest: Sequence[str], algorithms: Sequence[str]) -> None:
    """``UserError`` where an option belongs to an algorithm that is not compared."""
    for word in rest:
        prefix, dot, _ = word.removeprefix("--").partition(".")
        if word.startswith("--") and dot and prefix not in algorithms and prefix in registry.algorithm_names():
            option = word.partition("=")[0]
            raise UserError(f"{option}: algorithm {prefix!r} is not compared ({', '.join(algorithms)} are)")


def _values(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _values(part)
    elif hint is bool:
        yield from (True, False)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from hint


def _targets(chosen: Mapping[str, str], rest: Sequence[str], env_config: Any) -> tuple[int | None, ...]:
    offered = hasattr(env_config, "target_seed")
    if "targets" not in chosen:
        return (env_config.target_seed if offered else None,)
    if not offered:
        raise UserError(f"--targets: environment {chosen['env']!r} has no option target_seed")
    if any(word.partition("=")[0] == "--env.target_seed" for word in rest):
        raise UserError("give --targets or --env.target_seed, not both")
    try:
        targets = [int(word) for word in chosen["targets"].split(",")]
    except ValueError:
        raise UserError(f"--targets: expected whole numbers with commas between, found {chosen['targets']!r}") from None
    for target in targets:
        if targets.count(target) > 1:
            raise UserError(f"--targets: {target} is named twice")
        try:
            replace(env_config, target_seed=target)
        except (ValueError, OSError) as error:
            raise UserError(f"--targets: {' '.join(str(error).split())}") from error
    return tuple(targets)


def _label(chosen: Mapping[str, str], name: str, labels: Sequence[str]) -> str:
    """The row that an option names; the first where it is not given."""
    label = chosen.get(name, labels[0])
    if label not in labels:
        raise UserError(f"--{name}: {label!r} is none of the rows {', '.join(labels)}")
    return label


def _integer(chosen: Mapping[str, str], name: str, default: int, lowest: int) -> int:
    try:
        value = int(chosen.get(name, default))
    except ValueError:
        raise UserError(f"--{name}: expected int, found {chosen[name]!r}") from None
    if value < lowest:
        raise UserError(f"--{name}: {value} is below {lowest}")
    return value


def _score(chosen: Mapping[str, str]) -> float | None:
    if "target_score" not in chosen:
        return None
    try:
        score = float(chosen["target_score"])
    except ValueError:
        raise UserError(f"--target_score: expected float, found {chosen['target_score']!r}") from None
    if not 0 <= score <= 1:
        raise UserError(f"--target_score: {score} is not in [0, 1]")
    return score
