"""What ``autosim check`` is asked to check."""

from __future__ import annotations

import pytest

from autosim.cli.check import parse_check
from autosim.errors import UserError
from autosim.testing.checks import checks, making


def test_an_algorithm_alone_is_checked_on_a_toy_problem() -> None:
    part = parse_check(["--algo=random", "--algo.frames=4"]).part
    assert part.algo == "random" and part.env is None and part.algo_config.frames == 4
    assert making(part).reason == ""
    assert {check.about for check, _ in checks(part)} == {"algorithm random on a toy problem"}


def test_an_environment_is_checked_with_its_renderer_and_its_task() -> None:
    found = checks(parse_check(["--env=mnist"]).part)
    assert {check.about for check, _ in found} == {"environment mnist", "renderer of mnist", "task of mnist"}
    carried_out = [
        test() for check, test in found if "draws the schema" in check.sentence or "order of" in check.sentence
    ]
    assert len(carried_out) == 2 and all(outcome.reason == "" for outcome in carried_out)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "--env NAME or --algo NAME is needed"),
        (["--algo=random", "--algo.frames=0"], "--algo.frames: 0 is below 1"),
        (["--algo=random", "--env.x=1"], "--env.x"),
        (["--env=mnist", "--limit=-1"], "--limit: -1.0 is not above 0"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], part: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_check(arguments)
    assert part in str(caught.value) and "\n" not in str(caught.value)
