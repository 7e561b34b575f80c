"""``autosim blender``: sets Blender up in an environment of its own, and says what is set up."""

from __future__ import annotations

from collections.abc import Sequence

from autosim.cli.run_options import select
from autosim.errors import UserError
from autosim.rendering.blender import installed
from autosim.rendering.blender.setup import SIZES, set_up, state

USAGE = "autosim blender setup [--bpy VERSION] [--python PATH] [--wheel FILE] [--anew]\n       autosim blender status"
HELP = f"""usage: {USAGE}

Blender as the package bpy, in an environment of its own in autosim's cache ({SIZES}).

  setup            make the environment; does nothing where it is made
  status           what is set up, and what could be
  --bpy VERSION    one of {", ".join(f"{w.bpy} (Python {w.python[0]}.{w.python[1]})" for w in installed.WHEELS)}
                   (default: the first that a Python is found for)
  --python PATH    the Python to use
  --wheel FILE     a wheel of bpy that is here already, instead of the package index's
  --anew           make it again where it is made
"""


def run_blender(arguments: Sequence[str]) -> int:
    """Run ``setup`` or ``status``; returns the exit code."""
    if not arguments or arguments[0] not in ("setup", "status"):
        found = f"found {arguments[0]!r}" if arguments else "nothing is given"
        raise UserError(f"blender: {found}; allowed are setup, status")
    anew = "--anew" in arguments
    chosen, rest = select([word for word in arguments[1:] if word != "--anew"], ("bpy", "python", "wheel"))
    if rest or (arguments[0] == "status" and (chosen or anew)):
        given = rest[0] if rest else "--anew" if anew else f"--{next(iter(chosen))}"
        raise UserError(f"blender {arguments[0]}: unexpected {given.split('=')[0]}; see autosim blender --help")
    if arguments[0] == "status":
        for wheel in installed.WHEELS:
            print(state(wheel))
        return 0
    set_up(chosen.get("bpy", ""), chosen.get("python", ""), chosen.get("wheel", ""), _say, anew)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
