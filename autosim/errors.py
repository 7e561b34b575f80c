"""Errors that end in one line: of the user, of a renderer, of the machine."""

from typing import Any


class UserError(Exception):
    """A mistake in a configuration, a file or a command line; the commands print it and exit with code 2."""


class RendererError(Exception):
    """A renderer broke its contract or failed on a scene; names the renderer and the scene.

    ``place`` is that of the scene in its batch and ``scene`` what it is as JSON, where one scene is known to be at
    fault.
    """

    place: int | None = None
    scene: dict[str, Any] | None = None


class LostProcessError(Exception):
    """A process that worked for this one died, and trying again did not help; the commands exit with code 1."""
