"""From the arguments of ``autosim compare`` to a :class:`Comparison`.

Every algorithm's options are offered under its own name, ``--bo.frames``; settings of the runs and options of the
environment as for ``autosim run``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from jsonargparse import ArgumentParser

from autosim import registry
from autosim.cli.ablations import Ablation, parse_ablation, variants
from autosim.cli.options import Option, add_options, build, options_of, parse
from autosim.cli.run_options import add_selection_help, environment_defaults, run_options, select
from autosim.comparison.plan import NETWORKS, SHARES, TARGETS, Comparison, Measure, Method, Part
from autosim.errors import UserError
from autosim.runs.config import RunSettings, available_cpus
from autosim.runs.folder import RUNS

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env

DESCRIPTION = (
    "Compare methods on one environment under one budget of core-seconds. Runs every algorithm on every target and "
    "scores what it recommends at shares of the budget by fresh networks, beside the start, broad randomisation and "
    "the oracle. Resumes what was finished before; writes comparison.json, comparison.md and report.html. The budget "
    "of a run is 300 core-seconds where no other is given."
)
SELECTION = (
    ("--env NAME", "environment; there are: {environments}"),
    ("--algos NAME,NAME,…", "algorithms, a row each; there are: {algorithms}"),
    ("--ablation NAME", "instead of --algos: values of one option as rows, ALGO.OPTION, all that it has, or those "
                        "of ALGO.OPTION=VALUE,VALUE,…; of several options with ; between, one change at a time"),
    ("--seeds N", "runs of each algorithm on each target, with seeds 0 to N-1 (default: 1)"),
    ("--targets N,N,…", "hidden targets, the environment's option target_seed (default: that option's own value); "
                        "tuning: 0 to 2, to choose settings on; unseen: 110 to 117, to report on"),
    ("--workers N", "runs at once, each in one process with one thread (default: the CPUs there are); 0: in this one"),
    ("--checkpoints X,X,…", "shares of the budget at which scores are taken (default: 0.125,0.25,0.5,1)"),
    ("--networks N", "fresh networks whose mean a score is (default: 3)"),
    ("--score_on PART", "test, or validation while settings are being chosen (default: test)"),
    ("--known FILE,FILE", "results of earlier comparisons, whose runs are not made again where no option has changed"),
    ("--out DIR", "folder to write to; one that holds the same comparison is resumed (default: one under runs/)"),
)  # fmt: skip
SELECTION_NAMES = tuple(option.split()[0].lstrip("-") for option, _ in SELECTION)
DEFAULT_SEEDS = 1
DEFAULT_CORE_SECONDS = 300.0
OWN = ("seed", "workers")


def parse_comparison(arguments: Sequence[str]) -> Comparison:
    """The comparison that arguments ask for; ``UserError`` in one line where they are wrong."""
    chosen, rest = select(arguments, SELECTION_NAMES)
    if "env" not in chosen:
        raise UserError(f"--env NAME is needed; there are: {', '.join(registry.environment_names()) or 'none'}")
    environment = registry.find_environment(chosen["env"])
    algorithms, ablation = chosen_algorithms(chosen)
    refuse_strangers(rest, list(algorithms))
    options = comparison_options(algorithms, environment)
    parsed = parse(comparison_parser(options), options, rest)
    suited = suited_options(algorithms, chosen["env"], build(environment.Config, parsed, "env."))
    if suited:
        parsed = parse(comparison_parser(options), options, [*suited, *rest])
    parsed |= {"seed": 0, "workers": 0}
    settings = build(RunSettings, parsed)
    budget = settings.budget
    if budget.core_seconds is None:
        settings = replace(settings, budget=replace(budget, core_seconds=DEFAULT_CORE_SECONDS))
    methods = tuple(
        Method(name, name, build(algorithm.Config, parsed, f"{name}.")) for name, algorithm in algorithms.items()
    )
    if ablation is not None:
        methods = variants(methods[0], ablation)
    methods = tuple(replace(method, shown=algorithms[method.algo].shown(method.config)) for method in methods)
    env_config: Any = build(environment.Config, parsed, "env.")
    return Comparison(
        env=chosen["env"],
        env_config=env_config,
        methods=methods,
        targets=_targets(chosen, rest, env_config),
        seeds=tuple(range(_integer(chosen, "seeds", DEFAULT_SEEDS, lowest=1))),
        settings=settings,
        workers=_integer(chosen, "workers", available_cpus(), lowest=0),
        out=Path(chosen["out"])
        if "out" in chosen
        else RUNS / f"compare-{chosen['env']}-{datetime.now():%Y%m%d-%H%M%S}",
        measure=_measure(chosen),
        ablation=None if ablation is None else ablation.name,
        known=_known(chosen),
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


def chosen_algorithms(chosen: Mapping[str, str]) -> tuple[dict[str, type[Algorithm]], Ablation | None]:
    """Algorithms by name, and the ablation if one is asked for."""
    if "ablation" in chosen:
        if "algos" in chosen:
            raise UserError("--ablation chooses the algorithm itself; leave --algos out")
        ablation = parse_ablation(chosen["ablation"])
        return {ablation.algo: registry.find_algorithm(ablation.algo)}, ablation
    names = [name.strip() for name in chosen.get("algos", "").split(",") if name.strip()]
    if not names:
        raise UserError(f"--algos NAME,NAME,… is needed; there are: {', '.join(registry.algorithm_names()) or 'none'}")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--algos: {name!r} is named twice")
    return {name: registry.find_algorithm(name) for name in names}, None


def refuse_strangers(rest: Sequence[str], algorithms: Sequence[str]) -> None:
    """``UserError`` where an option belongs to an algorithm that is not compared."""
    for word in rest:
        prefix, dot, _ = word.removeprefix("--").partition(".")
        if word.startswith("--") and dot and prefix not in algorithms and prefix in registry.algorithm_names():
            option = word.partition("=")[0]
            raise UserError(f"{option}: algorithm {prefix!r} is not compared ({', '.join(algorithms)} are)")


def _targets(chosen: Mapping[str, str], rest: Sequence[str], env_config: Any) -> tuple[int | None, ...]:
    offered = hasattr(env_config, "target_seed")
    if "targets" not in chosen:
        return (env_config.target_seed if offered else None,)
    if not offered:
        raise UserError(f"--targets: environment {chosen['env']!r} has no option target_seed")
    if any(word.partition("=")[0] == "--env.target_seed" for word in rest):
        raise UserError("give --targets or --env.target_seed, not both")
    try:
        targets = list(TARGETS.get(chosen["targets"]) or map(int, chosen["targets"].split(",")))
    except ValueError:
        raise UserError(
            f"--targets: {chosen['targets']!r} is neither whole numbers with commas between nor {' or '.join(TARGETS)}"
        ) from None
    for target in targets:
        if targets.count(target) > 1:
            raise UserError(f"--targets: {target} is named twice")
        try:
            replace(env_config, target_seed=target)
        except (ValueError, OSError) as error:
            raise UserError(f"--targets: {' '.join(str(error).split())}") from error
    return tuple(targets)


def _measure(chosen: Mapping[str, str]) -> Measure:
    """How what methods recommend is scored."""
    text = chosen.get("checkpoints", ",".join(f"{share:g}" for share in SHARES))
    try:
        shares = tuple(float(word) for word in text.split(","))
    except ValueError:
        shares = ()
    if not shares or list(shares) != sorted(set(shares)) or not shares[0] > 0 or shares[-1] != 1:
        raise UserError(f"--checkpoints: {text!r} are no shares of the budget that rise to 1, as 0.25,0.5,1")
    part = chosen.get("score_on", "test")
    if part not in get_args(Part):
        raise UserError(f"--score_on: {part!r} is none of {', '.join(get_args(Part))}")
    return Measure(shares, _integer(chosen, "networks", NETWORKS, lowest=1), cast(Part, part))


def _known(chosen: Mapping[str, str]) -> tuple[Path, ...]:
    paths = tuple(Path(name) for name in chosen["known"].split(",")) if "known" in chosen else ()
    for path in paths:
        if not path.is_file():
            raise UserError(f"--known: {path} is no file")
    return paths


def _integer(chosen: Mapping[str, str], name: str, default: int, lowest: int) -> int:
    try:
        value = int(chosen.get(name, default))
    except ValueError:
        raise UserError(f"--{name}: expected int, found {chosen[name]!r}") from None
    if value < lowest:
        raise UserError(f"--{name}: {value} is below {lowest}")
    return value
