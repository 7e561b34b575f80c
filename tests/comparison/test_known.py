"""Rows of earlier results: found while no option has changed, and only where they were measured in the same way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autosim.cli.compare_options import parse_comparison
from autosim.comparison.known import KnownRows, as_asked, read_known, settings_of, target_config, target_settings_of
from autosim.comparison.plan import Comparison
from autosim.errors import UserError
from autosim.runs.config import RunConfig, plain

pytestmark = pytest.mark.usefixtures("toys")


def comparison(*options: str) -> Comparison:
    return parse_comparison(["--env=spots", "--algos=hop", "--targets=1", *options])


def recorded(of: Comparison, score: float = 0.5) -> dict[str, Any]:
    """Results with one run and one target, as JSON has them."""
    results = {
        "measure": plain(of.measure),
        "runs": [{"score": score, "settings": settings_of(of.jobs()[0].config)}],
        "targets": [{"scores": {"start": [score]}, "settings": target_settings_of(target_config(of, 1))}],
    }
    return dict(json.loads(json.dumps(results)))


def known(results: dict[str, Any], asked: Comparison, folder: Path) -> KnownRows:
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return read_known([path], asked)


def test_a_run_is_known_while_its_options_are_the_same(tmp_path: Path) -> None:
    asked = comparison("--hop.frames=4")
    rows = known(recorded(asked), asked, tmp_path)
    run, target = rows.run(asked.jobs()[0]), rows.target(asked, 1)
    assert run is not None and run["score"] == 0.5
    assert target is not None and target["scores"] == {"start": [0.5]}
    other = comparison("--hop.frames=5")
    assert rows.run(other.jobs()[0]) is None and rows.target(other, 1) is not None
    assert rows.target(asked, 2) is None


def test_an_option_that_came_later_does_not_matter_at_its_default(tmp_path: Path) -> None:
    asked = comparison()
    results = recorded(asked)
    del results["runs"][0]["settings"]["algo"]["frames"]
    rows = known(results, asked, tmp_path)
    assert rows.run(asked.jobs()[0]) is not None
    assert rows.run(comparison("--hop.frames=4").jobs()[0]) is None


def test_an_option_that_is_no_more_makes_another_run(tmp_path: Path) -> None:
    asked = comparison()
    results = recorded(asked)
    results["runs"][0]["settings"]["algo"]["gone"] = 1
    assert known(results, asked, tmp_path).run(asked.jobs()[0]) is None


def test_what_was_measured_otherwise_is_not_known(tmp_path: Path) -> None:
    asked, other = comparison("--networks=2"), comparison("--networks=3")
    rows = known(recorded(asked), other, tmp_path)
    assert rows.run(other.jobs()[0]) is None and rows.target(other, 1) is None


def test_of_two_files_the_later_one_counts(tmp_path: Path) -> None:
    asked = comparison()
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, score in zip(paths, (0.1, 0.9), strict=True):
        path.write_text(json.dumps(recorded(asked, score)))
    run = read_known(paths, asked).run(asked.jobs()[0])
    assert run is not None and run["score"] == 0.9


def test_results_hold_no_path_of_the_user_s(tmp_path: Path) -> None:
    config = comparison().jobs()[0].config

    def on(folder: Path) -> RunConfig:
        target = replace(config.settings.target, validation=folder)
        return replace(config, settings=replace(config.settings, target=target))

    own = on(tmp_path / "photographs")
    assert str(tmp_path) in json.dumps(own.to_dict()) and str(tmp_path) not in json.dumps(settings_of(own))
    assert settings_of(own) not in (settings_of(config), settings_of(on(tmp_path / "others")))


@pytest.mark.parametrize("damage", ["measure", "runs", "targets"])
def test_a_file_without_its_parts_is_refused(damage: str, tmp_path: Path) -> None:
    asked = comparison()
    results = recorded(asked)
    del results[damage]
    with pytest.raises(UserError, match=r"^--known: .*holds no comparison"):
        known(results, asked, tmp_path)


def test_nested_options_are_compared_one_by_one() -> None:
    default = {"a": 1, "b": {"c": 2, "d": 3}}
    assert as_asked({"a": 1, "b": {"c": 2}}, default, default)
    assert not as_asked({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2, "d": 4}}, default)
    assert not as_asked({"a": 1, "b": {"c": 5}}, default, default)
