"""The conformance suites on an installed part, without pytest: the checks that there are, and their outcomes."""

from __future__ import annotations

import ast
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from autosim import registry
from autosim.registry import one_line
from autosim.rendering.frames import Frames
from autosim.seeding import seed_sequence
from autosim.testing.algorithm import AlgorithmSuite
from autosim.testing.env import EnvSuite
from autosim.testing.problems import Rectangles, RectanglesConfig
from autosim.testing.renderer import RendererSuite
from autosim.testing.task import TaskSuite

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env
    from autosim.learning.tasks.task import Task
    from autosim.rendering.renderer import Renderer
    from autosim.scenes.graph import SceneGraph
    from autosim.session import Session

# Scenes each of the start and of the target for the checks of a renderer; frames of the start for those of a task.
SCENES = 3
FRAMES = 8
# Most characters of a reason.
LONGEST = 300


@dataclass(frozen=True)
class Part:
    """The part to check: an environment by name, or an algorithm on one, each with an instance of its ``Config``.
    Without an environment's name an algorithm is checked on a toy problem.
    """

    env: str | None = None
    env_config: Any = None
    algo: str | None = None
    algo_config: Any = None


@dataclass(frozen=True)
class Check:
    """One check: the part that it checks, and what has to hold, as a sentence."""

    about: str
    sentence: str


@dataclass(frozen=True)
class Outcome:
    """Why a check fails, in one line ("" where it holds), and the traceback."""

    reason: str = ""
    trace: str = ""


def checks(part: Part) -> list[tuple[Check, Callable[[], Outcome]]]:
    """Every check of a part, in the order of its suites, with the function that runs it."""
    found: dict[str, tuple[Check, Callable[[], Outcome]]] = {}
    for about, suite in _suites(part).items():
        for name in _names(type(suite)):
            # What two suites ask by the same name is checked once.
            found.setdefault(name, (Check(about, sentence(name)), _outcome_of(getattr(suite, name), part)))
    return list(found.values())


def making(part: Part) -> Outcome:
    """Whether the environment can be made with its configuration: otherwise nothing can be checked."""
    return _outcome_of(lambda: _made(part), part)()


def sentence(name: str) -> str:
    """A test's name as a sentence: ``test_a_sample_s_loss_is_finite`` is "a sample's loss is finite"."""
    return name.removeprefix("test_").replace("_s_", "'s_").replace("_", " ")


def reason(error: BaseException, own: Sequence[Path] = ()) -> str:
    """Why a check failed, in one line: the error, or for an assertion without a message the assertion itself.

    It names the last line of the traceback that is in a file below one of the folders ``own``.
    """
    steps = list(_steps(error.__traceback__))
    told = one_line(error)
    if isinstance(error, AssertionError) and not str(error) and steps:
        told = _assertion(*steps[-1]) or told
    told = told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}…"
    for frame, line in reversed(steps):
        path = Path(frame.f_code.co_filename)
        if any(folder in path.parents for folder in own):
            return f"{told} ({path.name}, line {line})"
    return told


def _suites(part: Part) -> dict[str, object]:
    class EnvironmentChecks(EnvSuite):
        def env(self) -> Env:
            return _made(part)

    class RendererChecks(RendererSuite):
        def renderer(self) -> Renderer:
            return _made(part).renderer()

        def scenes(self) -> Sequence[SceneGraph]:
            env = _made(part)
            grammars = [grammar for grammar in (env.prior(), env.target()) if grammar is not None]
            seed = seed_sequence(0, "checked scenes")
            return [scene for grammar in grammars for scene in grammar.sample_many(SCENES, seed)]

    class TaskChecks(TaskSuite):
        def task(self) -> Task:
            return _made(part).task()

        def frames(self) -> Frames:
            env = _made(part)
            renderer = env.renderer()
            renderer.build()
            scenes = env.prior().sample_many(FRAMES, seed_sequence(0, "checked frames"))
            return Frames.stack([renderer.render(scene, seed) for seed, scene in enumerate(scenes)])

    class AlgorithmChecks(AlgorithmSuite):
        def env(self) -> Env:
            return _made(part)

        def algorithm(self, session: Session) -> Algorithm:
            assert part.algo is not None
            return registry.find_algorithm(part.algo)(session, part.algo_config)

    if part.algo is not None:
        return {f"algorithm {part.algo} on {part.env or 'a toy problem'}": AlgorithmChecks()}
    return {
        f"environment {part.env}": EnvironmentChecks(),
        f"renderer of {part.env}": RendererChecks(),
        f"task of {part.env}": TaskChecks(),
    }


def _made(part: Part) -> Env:
    if part.env is None:
        return Rectangles(RectanglesConfig())
    make: Callable[[Any], Env] = registry.find_environment(part.env)
    return make(part.env_config)


def _names(suite: type) -> list[str]:
    """The tests of a suite in the order in which they are written."""
    names = [name for ancestor in reversed(suite.__mro__) for name in vars(ancestor) if name.startswith("test_")]
    return list(dict.fromkeys(names))


def _outcome_of(test: Callable[[], object], part: Part) -> Callable[[], Outcome]:
    def outcome() -> Outcome:
        try:
            test()
        except (Exception, SystemExit) as error:
            return Outcome(reason(error, _own_folders(part)), "".join(traceback.format_exception(error)))
        return Outcome()

    return outcome


def _own_folders(part: Part) -> list[Path]:
    """Where the code of the part lies."""
    classes: list[type] = [] if part.env is None else [registry.find_environment(part.env)]
    if part.algo is not None:
        classes.append(registry.find_algorithm(part.algo))
    files = [getattr(sys.modules[found.__module__], "__file__", None) for found in classes]
    return [Path(file).parent for file in files if file]


def _steps(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _assertion(frame: FrameType, line: int) -> str:
    """The assertion at a line, with the values of its two sides; "" where its source cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
            sides = [node.test.left, *node.test.comparators] if isinstance(node.test, ast.Compare) else []
            values = [text for side in sides if (text := _value(side, frame))]
            return f"not so: {ast.unparse(node.test)}" + (f", where {' and '.join(values)}" if values else "")
    return ""


def _value(side: ast.expr, frame: FrameType) -> str:
    """The value of a side of a comparison; "" for constants, and for calls, which would run a second time."""
    if isinstance(side, ast.Constant) or any(isinstance(node, ast.Call) for node in ast.walk(side)):
        return ""
    try:
        value = eval(compile(ast.Expression(side), "<assertion>", "eval"), frame.f_globals, frame.f_locals)
    except Exception:  # whatever a third party's attributes raise
        return ""
    text = re.sub(r"\s+", " ", repr(value))
    return f"{ast.unparse(side)} is {text if len(text) <= 60 else f'{text[:59]}…'}"
