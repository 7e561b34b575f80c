"""Errors that end in one line: of the user, of a renderer, of the machine."""

import errno
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

# Characters of a line that tells what went wrong, ``autosim: `` before it left out.
LONGEST = 290
# What a machine runs out of: room on a disk, files, memory; and a disk that fails.
EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
# Names longer than this are no misspelling of anything.
LONGEST_NAME = 100


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text as one line of at most ``longest`` characters: of a longer one, the middle is left out.

    What a terminal would take for a command (control characters) is written as an escape.
    """
    if left_out := len(text) > 4 * longest:  # megabytes are not to be gone through
        text = text[: 2 * longest] + text[-2 * longest :]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))
    if len(line) <= longest and not left_out:
        return line
    tail = longest // 3
    return f"{line[: longest - tail - 3]} … {line[-tail:]}"


def did_you_mean(given: str, known: Sequence[str], form: str = "{}") -> str:
    """``; did you mean NAME?`` with the nearest of the known names, in a form; empty where none is near."""
    close = get_close_matches(given[:LONGEST_NAME], known, n=1)
    return f"; did you mean {form.format(close[0])}?" if close else ""


def failure(error: OSError | MemoryError) -> str:
    """A file, a folder or memory that failed, in one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    where = f"{error.filename}: " if error.filename else ""
    return shortened(f"{where}{error.strerror or error or type(error).__name__}")


class OneLineError(Exception):
    """An error whose text is one line of at most :data:`LONGEST` characters. The ``hint``, how to go on, ends it."""

    hint: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        if not self.hint:
            return shortened(text)
        return f"{shortened(text, max(100, LONGEST - len(self.hint) - 2))}; {self.hint}"


class UserError(OneLineError):
    """A mistake in a configuration, a file or a command line; the commands print it and exit with code 2."""


class RendererError(OneLineError):
    """A renderer broke its contract or failed on a scene; names the renderer and the scene.

    ``place`` is that of the scene in its batch and ``scene`` what it is as JSON, where one scene is known to be at
    fault.
    """

    place: int | None = None
    scene: dict[str, Any] | None = None


class LostProcessError(OneLineError):
    """A process that worked for this one died, and trying again did not help; the commands exit with code 1."""


class MachineError(OneLineError):
    """The machine failed, or ran out of room or memory; the commands exit with code 1."""


def machine_or_user(error: OSError | MemoryError) -> OneLineError:
    """A :class:`MachineError` where the machine ran out of something, and a :class:`UserError` otherwise: a path that
    is not there, or that may not be written.
    """
    exhausted = isinstance(error, MemoryError) or error.errno in EXHAUSTED
    return (MachineError if exhausted else UserError)(failure(error))
