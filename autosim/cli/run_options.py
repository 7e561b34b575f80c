"""From the arguments of ``autosim run`` and a YAML file to a :class:`RunConfig`, in two stages.

The first picks the algorithm, the environment and the file; the second offers the options of those two. Where both give
an option, the command line counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from autosim import registry
from autosim.cli.options import Option, add_options, build, options_of, parse, unknown_option
from autosim.errors import UserError
from autosim.files import read_yaml, shown
from autosim.runs.config import RunConfig, RunSettings, plain

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env

DESCRIPTION = (
    "Run one algorithm on one environment: learn the distribution of scenes, then score it on the target. "
    "Writes a run folder with figures, pictures and a report."
)
SELECTION = (
    ("--algo NAME", "algorithm; there are: {algorithms}"),
    ("--env NAME", "environment; there are: {environments}"),
    ("--config FILE", "YAML file in the layout of a run folder's config.yaml; options given beside it count more"),
    ("--out DIR", "run folder to make; must not hold anything yet (default: one under runs/)"),
    ("--resume DIR", "go on with the run in this folder, as it was configured; takes no other option"),
)
SELECTION_NAMES = ("algo", "env", "config", "out", "resume")
# Settings of a run that say which run it is and where it is made, and not how.
NOT_FROM_ENVIRONMENT = ("seed", "workers", "device")


@dataclass(frozen=True)
class RunRequest:
    """What a command line asks for. ``out`` None leaves the folder's name to the run."""

    config: RunConfig
    out: Path | None


def parse_run(arguments: Sequence[str]) -> RunRequest:
    """The run that arguments ask for; ``UserError`` in one line where they are wrong."""
    chosen, rest = select(arguments)
    values, source = read_config(Path(chosen["config"])) if "config" in chosen else ({}, "")
    algo, env = (_required_name(chosen, values, kind) for kind in ("algo", "env"))
    config = configure(algo, env, values, source, rest)
    return RunRequest(config, Path(chosen["out"]) if "out" in chosen else None)


def configure(
    algo: str, env: str, values: Mapping[str, Any], source: str = "", arguments: Sequence[str] = ()
) -> RunConfig:
    """A run's configuration from values, as nested mappings or by dotted key, and from arguments, which count more.
    What neither gives has the environment's default for this algorithm (``Env.defaults``), or else its own.

    ``UserError`` in one line, led by ``source`` where a value is wrong.
    """
    algorithm, environment = registry.find_algorithm(algo), registry.find_environment(env)
    options = run_options(algorithm, environment)
    parsed = _parsed(options, values, source, arguments)
    env_config: Any = build(environment.Config, parsed, "env.")
    suited = environment_defaults(algo, env, env_config, options)
    keys = [option.key for option in options]
    given = [argument_key(word) for word in (*as_arguments(values, keys, source), *arguments)]
    own = {key: argument for key, argument in suited.items() if key not in given}
    if own:
        parsed = _parsed(options, values, source, arguments, tuple(own.values()))
    try:
        algo_config: Any = build(algorithm.Config, parsed, "algo.")
        settings = build(RunSettings, parsed)
    except UserError as error:
        told = f"; the environment has set {' '.join(own.values())}, which options override" if own else ""
        raise UserError(f"{error}{told}") from error
    return RunConfig(algo, env, algo_config, env_config, settings, tuple(own))


def environment_defaults(algo: str, env: str, env_config: Any, options: Sequence[Option]) -> dict[str, str]:
    """What an environment sets for an algorithm, by key of the option: the argument ``--KEY=VALUE``. ``UserError``
    where one of them is no option, its value is wrong, or it is not the environment's to set.
    """
    suited = registry.find_environment(env).defaults(algo, env_config)
    source, keys = f"environment {env!r}: defaults for {algo!r}: ", [option.key for option in options]
    found = {argument_key(word): word for word in as_arguments(suited, keys, source)}
    for key in found:
        if key in NOT_FROM_ENVIRONMENT or key.startswith(("env.", "target")):
            raise UserError(f"{source}{key} is not the environment's to set")
    if found:
        parse(run_parser(options), options, list(found.values()), source)
    return found


def argument_key(argument: str) -> str:
    """The key of an option in an argument ``--KEY=VALUE`` or ``--KEY``."""
    return argument.partition("=")[0].removeprefix("--")


def configure_environment(env: str, values: Mapping[str, Any], arguments: Sequence[str] = ()) -> Any:
    """An environment's configuration from values by name and from arguments ``--env.X``; ``UserError`` as above."""
    environment = registry.find_environment(env)
    options = list(options_of(environment.Config, "env.", title="environment"))
    return build(environment.Config, _parsed(options, {"env": dict(values)}, "", arguments), "env.")


def configure_algorithm(algo: str, arguments: Sequence[str] = ()) -> Any:
    """An algorithm's configuration from arguments ``--algo.X``; ``UserError`` as above."""
    algorithm = registry.find_algorithm(algo)
    options = list(options_of(algorithm.Config, "algo.", title="algorithm"))
    return build(algorithm.Config, _parsed(options, {}, "", arguments), "algo.")


def given_arguments(algo: str, env: str, values: Mapping[str, Any]) -> list[str]:
    """Values of :func:`configure` as the arguments that mean the same; ``UserError`` where a key is no option."""
    known = [option.key for option in run_options(registry.find_algorithm(algo), registry.find_environment(env))]
    return list(as_arguments(values, known, ""))


def _parsed(
    options: Sequence[Option],
    values: Mapping[str, Any],
    source: str,
    arguments: Sequence[str],
    defaults: Sequence[str] = (),
) -> dict[str, Any]:
    parser = run_parser(options)
    given = list(as_arguments(values, [option.key for option in options], source))
    if given:
        parse(parser, options, given, source)
    return parse(parser, options, [*defaults, *given, *arguments])


def resumed_folder(arguments: Sequence[str]) -> Path | None:
    """The folder of ``--resume``; None without. ``UserError`` where there are other options beside it."""
    chosen, rest = select(arguments)
    if "resume" not in chosen:
        return None
    others = [f"--{name}" for name in chosen if name != "resume"] + rest
    if others:
        raise UserError(f"--resume goes on with a run as it was configured, and takes no {others[0]}")
    return Path(chosen["resume"])


def run_help(arguments: Sequence[str]) -> str:
    """Help; with an algorithm or an environment named in the arguments, with the options of each."""
    chosen = select(arguments)[0]
    values, _ = read_config(Path(chosen["config"])) if "config" in chosen else ({}, "")
    algo, env = (_name(chosen, values, kind) for kind in ("algo", "env"))
    options = run_options(
        registry.find_algorithm(algo) if algo else None, registry.find_environment(env) if env else None
    )
    if algo and env:
        options = with_environment_defaults(algo, env, values, select(arguments)[1], options)
    parser = run_parser(options, with_selection=True)
    text: str = parser.format_help()
    if not (algo and env):
        text += "\nWith --algo NAME --env NAME --help, their options (--algo.X, --env.X) show too.\n"
    return text


def with_environment_defaults(
    algo: str, env: str, values: Mapping[str, Any], arguments: Sequence[str], options: Sequence[Option]
) -> list[Option]:
    """Options for the help text: those that the environment sets with its values, and a word on that."""
    in_file = {"env": values["env"]} if isinstance(values.get("env"), dict) else {}
    config = _parsed(options, in_file, "", [word for word in arguments if word.startswith("--env.")])
    found = environment_defaults(algo, env, build(registry.find_environment(env).Config, config, "env."), options)
    parsed = parse(run_parser(options), options, list(found.values()))
    return [
        replace(option, default=parsed[option.key], help=f"{option.help} [set by the environment]")
        if option.key in found
        else option
        for option in options
    ]


def run_options(algorithm: type[Algorithm] | None, environment: type[Env] | None) -> list[Option]:
    """Settings of every run, then the options of an algorithm and of an environment.

    The environment says which gradient settings suit its renderer: they are the defaults.
    """
    options = list(options_of(RunSettings, title="every run"))
    if environment:
        own = {f"render.{name}": value for name, value in vars(environment.gradient).items()}
        options = [replace(option, default=own.get(option.key, option.default)) for option in options]
    if algorithm:
        options += options_of(algorithm.Config, "algo.", title="algorithm")
    if environment:
        options += options_of(environment.Config, "env.", title="environment")
    return options


def run_parser(options: Sequence[Option], with_selection: bool = False) -> ArgumentParser:
    """The second stage's parser. ``with_selection`` adds what the first stage takes, for the help text only."""
    parser = ArgumentParser(
        prog="autosim run",
        usage="%(prog)s --algo NAME --env NAME [--config FILE] [--out DIR] [options]\n       %(prog)s --resume DIR",
        description=DESCRIPTION,
        exit_on_error=False,
        allow_abbrev=False,
    )
    if with_selection:
        add_selection_help(parser, "what to run", SELECTION)
    add_options(parser, options)
    return parser


def select(arguments: Sequence[str], names: Sequence[str] = SELECTION_NAMES) -> tuple[dict[str, str], list[str]]:
    """Split off the options ``names`` (the last of each counts); hyphens in the names of all become underscores."""
    chosen: dict[str, str] = {}
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        name, given, value = queue.pop(0).partition("=")
        if not name.startswith("--"):
            rest.append(name + given + value)
            continue
        name = name[2:].replace("-", "_")
        if name not in names:
            rest.append(f"--{name}{given}{value}")
            continue
        if not given:
            if not queue or queue[0].startswith("--"):
                raise UserError(f"--{name} needs a value")
            value = queue.pop(0)
        if "\0" in value:
            raise UserError(f"--{name}: {value!r} holds a NUL, which no name of a file may")
        chosen[name] = value
    return chosen, rest


def read_config(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in a YAML file and how to call the file in messages; ``UserError`` where it cannot be read."""
    source = f"config file {path}: "
    try:
        values = read_yaml(path)
    except UserError as error:
        raise UserError(f"config file {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{source}found {type(values).__name__}, expected a mapping of options")
    return values, source


def as_arguments(values: Mapping[str, Any], known: list[str], source: str, prefix: str = "") -> Iterator[str]:
    """A file's values as command-line arguments; ``UserError`` where a key is no option."""
    for name, value in values.items():
        key = f"{prefix}{name}".replace("-", "_")
        named_apart = key in ("algo.name", "env.name", "out")
        name_alone = key in ("algo", "env") and not isinstance(value, dict)
        if named_apart or name_alone:
            continue
        if f"{key}.folder" in known and not isinstance(value, dict):
            key = f"{key}.folder"
        if key in known:
            try:
                text = str(value) if isinstance(value, str | Path) else json.dumps(plain(value), default=str)
                yield f"--{key}={text}"
            except (ValueError, RecursionError, TypeError) as error:
                raise UserError(f"{source}{key}: {' '.join(str(error).split())}") from error
        elif isinstance(value, dict) and any(other.startswith(f"{key}.") for other in known):
            yield from as_arguments(value, known, source, f"{key}.")
        else:
            raise UserError(source + unknown_option(f"--{key}", known))


def _required_name(chosen: Mapping[str, str], values: Mapping[str, Any], kind: str) -> str:
    name = _name(chosen, values, kind)
    if name is None:
        names = registry.algorithm_names() if kind == "algo" else registry.environment_names()
        raise UserError(f"--{kind} NAME is needed; there are: {', '.join(names) or 'none'}")
    return name


def _name(chosen: Mapping[str, str], values: Mapping[str, Any], kind: str) -> str | None:
    entry = values.get(kind)
    name = chosen.get(kind) or (entry.get("name") if isinstance(entry, dict) else entry)
    if name is not None and not isinstance(name, str):
        raise UserError(f"{kind}: expected a name, found {shown(name)}")
    return name


def add_selection_help(parser: ArgumentParser, title: str, selection: Sequence[tuple[str, str]]) -> None:
    """Show what the first stage takes, ``--option METAVAR`` and its text, with the names that there are put in."""
    group = parser.add_argument_group(title)
    known = {
        "algorithms": ", ".join(registry.algorithm_names()) or "none",
        "environments": ", ".join(registry.environment_names()) or "none",
    }
    for option, text in selection:
        flag, metavar = option.split(maxsplit=1)
        group.add_argument(flag, metavar=metavar, help=text.format(**known), default=argparse.SUPPRESS)
