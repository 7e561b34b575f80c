"""``autosim list``: what is installed; which algorithms can learn on an environment, and what it sets for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autosim import registry
from autosim.cli.run_options import configure, configure_environment, select
from autosim.errors import UserError

USAGE = """usage: autosim list [--env NAME [--env.X …]]

List the installed algorithms and environments, one a line. With --env NAME, list the algorithms that can learn on that
environment, with what it sets for each (options of a run override that), and those that cannot, with the reason.
"""


def listing(arguments: Sequence[str]) -> Iterator[str]:
    """The lines that arguments ask for; ``UserError`` in one line where they are wrong."""
    chosen, rest = select(arguments, ("env",))
    if "env" in chosen:
        yield from _of_environment(chosen["env"], rest)
        return
    if rest:
        raise UserError(f"list takes no arguments but --env NAME and its options, found {rest[0]!r}")
    for title, group in (("algorithms", registry.ALGORITHMS), ("environments", registry.ENVIRONMENTS)):
        yield f"{title}:"
        parts = registry.installed(group)
        width = max((len(part.name) for part in parts), default=0)
        for part in parts:
            yield f"  {part.name:<{width}}  {'' if part.works else 'BROKEN '}{part.text}"


def _of_environment(env: str, options: Sequence[str]) -> Iterator[str]:
    from autosim.runs.opening import make_environment, refusals

    made = make_environment(env, configure_environment(env, {}, options))
    found = refusals(made)
    width = max(map(len, found), default=0)
    yield f"algorithms on {env}:"
    for name, reason in found.items():
        if reason is not None:
            yield f"  {name:<{width}}  cannot work: {reason}"
            continue
        settings = configure(name, env, {}, "", options).set_by_environment()
        told = ", ".join(f"{key} {value}" for key, value in settings.items())
        yield f"  {name:<{width}}  {f'can; the environment sets {told}' if told else 'can, with its own settings'}"
