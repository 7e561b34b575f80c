"""How far the structure of scenes moved: closed forms over scenes made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autosim.reports.structure import structure_frequencies, structure_recoveries
from autosim.scenes.grammar import Emission, Grammar, Rule
from autosim.scenes.graph import Categorical, Node, NodeClass, SceneGraph, Schema

KINDS = ("elm", "oak")
SCHEMA = Schema(
    (
        NodeClass("meadow"),
        NodeClass("tree", (Categorical("kind", KINDS, mutable=False), Categorical("leaves", ("green", "red")))),
    )
)
RULES = (
    Rule("Meadow", ("Trees",)),
    Rule("Trees", ("Tree", "Trees")),
    Rule("Trees", ()),
    *(Rule("Tree", (kind,)) for kind in KINDS),
)
TREES = {kind: Emission("tree", 0, {"kind": kind}) for kind in KINDS}
GRAMMAR = Grammar(SCHEMA, "Meadow", RULES, {"Meadow": Emission("meadow"), **TREES})


def scene(kinds: str) -> SceneGraph:
    """A meadow with a tree for each letter."""
    trees = [Node("tree", {"kind": {"e": "elm", "o": "oak"}[kind], "leaves": "red"}) for kind in kinds]
    return SceneGraph((Node("meadow"), *trees), (-1, *(0 for _ in trees)))


def moved(**parts: Sequence[str]) -> dict[str, float | None]:
    scenes = {part: [scene(kinds) for kinds in each] for part, each in parts.items()}
    return {key: move.recovered for key, move in structure_recoveries(GRAMMAR, scenes).items()}


def test_numbers_move_by_their_means_and_kinds_by_total_variation() -> None:
    found = moved(start=["eeee", "eeeeeeee"], learned=["eeeo", "eeeo"], target=["oo", "oo"])
    assert found == {"number of tree": pytest.approx(1 - 2 / 4), "tree.kind": pytest.approx(0.25)}


def test_what_is_the_same_in_all_scenes_is_not_reported() -> None:
    assert list(moved(start=["eo"], learned=["oe"], target=["oo"])) == ["tree.kind"]


def test_what_samples_cannot_tell_from_the_target_has_no_way_to_move() -> None:
    numbers = ["e" * n for n in range(1, 20)]
    assert moved(start=numbers, learned=["eeeee"] * 19, target=[*numbers[:-1], "e" * 20])["number of tree"] is None
    assert moved(start=["eeo"], learned=["ooo"], target=["eeo"])["tree.kind"] is None


def test_without_a_target_both_ends_are_kept() -> None:
    scenes = {"start": [scene("e"), scene("ee")], "learned": [scene("eee")]}
    move = structure_recoveries(GRAMMAR, scenes)["number of tree"]
    assert move.recovered is None and move.target is None
    assert move.to_json() == {
        "recovered": None,
        "start": {"mean": 1.5, "std": 0.5},
        "learned": {"mean": 3.0, "std": 0.0},
    }


def test_a_kind_that_one_end_lacks_altogether_is_left_out() -> None:
    """An empty scene has no shares of kinds."""
    assert list(moved(start=[""], learned=["e"], target=["o"])) == ["number of tree"]


def test_how_often_there_are_so_many_and_of_which_kind() -> None:
    found = structure_frequencies(GRAMMAR, [scene("ee"), scene("eo"), scene(""), scene("ooo")])
    assert {key: each.probabilities for key, each in found.items()} == {
        "number of tree": pytest.approx((0.25, 0.0, 0.5, 0.25)),
        "tree.kind": pytest.approx((3 / 7, 4 / 7)),
    }
    assert list(structure_frequencies(GRAMMAR, [scene("eo"), scene("oo")])) == ["tree.kind"]


def test_a_kind_that_is_drawn_and_not_set_by_rules_is_no_structure() -> None:
    rules = (Rule("Meadow", ("Trees",)), Rule("Trees", ("Tree", "Trees")), Rule("Trees", ()))
    drawn = Grammar(SCHEMA, "Meadow", rules, {"Meadow": Emission("meadow"), "Tree": Emission("tree")})
    assert list(structure_frequencies(drawn, [scene("e"), scene("oo")])) == ["number of tree"]
