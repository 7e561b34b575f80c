"""The grammar: derivations, masks, priors, seeds."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.scenes.generator import CategoricalSummary, ContinuousSummary, summarise
from autosim.scenes.grammar import (
    Choice,
    Constant,
    Derivation,
    Emission,
    Grammar,
    Normal,
    Prior,
    Rule,
    Uniform,
    child_seed,
)
from autosim.scenes.graph import Categorical, Continuous, NodeClass, Schema
from tests.scenes.examples import digits, roads, seed, table

GRAMMARS: list[Callable[[], Grammar]] = [table, digits, roads]


@pytest.mark.parametrize("make", GRAMMARS)
@settings(max_examples=30)
@given(key=st.integers(0, 2**32))
def test_every_sample_is_derived_by_its_own_rules(make: Callable[[], Grammar], key: int) -> None:
    grammar = make()
    scene = grammar.sample(seed(key))
    grammar.schema.validate(scene)
    assert scene.derivation is not None and len(scene.derivation) <= grammar.max_steps
    derivation = Derivation(grammar)
    for rule in scene.derivation:
        mask = derivation.mask()
        assert [r.head == derivation.symbol for r in grammar.rules] == mask.tolist()
        assert mask[rule]
        derivation.apply(rule)
    assert derivation.done and not derivation.mask().any()
    again = grammar.derive(scene.derivation, seed(key, 1))
    assert again.parents == scene.parents
    assert [(n.node_class, n.slot) for n in again.nodes] == [(n.node_class, n.slot) for n in scene.nodes]


def test_derivation_is_leftmost_first_and_children_hang_below_the_nearest_emitting_symbol() -> None:
    derivation = Derivation(roads())
    opened = []
    for rule in (0, 1, 3, 4, 5, 1, 3, 5, 2):
        opened.append(derivation.symbol)
        derivation.apply(rule)
    assert opened == ["Scene", "Roads", "Road", "Cars", "Cars", "Roads", "Road", "Cars", "Roads"]
    assert derivation.done
    assert derivation.emitted == ["Scene", "Road", "car", "Road"]
    assert derivation.parents == [-1, 0, 1, 0]


def test_rules_that_do_not_fit_are_refused() -> None:
    grammar = roads()
    with pytest.raises(ValueError, match="step 1: rule 4 does not expand 'Roads'"):
        grammar.derive([0, 4], seed())
    with pytest.raises(ValueError, match="'Road' is still open after 2 rules"):
        grammar.derive([0, 1], seed())
    with pytest.raises(ValueError, match="no symbol is open after 2 rules"):
        grammar.derive([0, 2, 2], seed())


@pytest.mark.parametrize("make", GRAMMARS)
def test_scene_i_depends_on_seed_and_i_only(make: Callable[[], Grammar]) -> None:
    grammar, parent = make(), seed(3)
    parent.spawn(2)
    scenes = grammar.sample_many(20, parent)
    assert grammar.sample_many(5, seed(3)) == scenes[:5]
    assert grammar.sample(child_seed(seed(3), 11)) == scenes[11]
    assert grammar.sample_many(5, seed(4)) != scenes[:5]
    assert pickle.loads(pickle.dumps(grammar)).sample_many(5, seed(3)) == scenes[:5]


def test_rule_weights_are_frequencies() -> None:
    lengths = [len(scene.nodes) - 1 for scene in digits().sample_many(4000, seed(0))]
    # Geometric with stopping probability 1/4: mean 3, standard deviation sqrt(12).
    assert abs(np.mean(lengths) - 3) < 4 * np.sqrt(12 / 4000)
    assert abs(np.mean(np.array(lengths) == 0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


def test_long_derivations_are_drawn_again() -> None:
    short = replace(digits(), max_steps=6)
    scenes = short.sample_many(200, seed(0))
    assert max(len(scene.derivation or ()) for scene in scenes) == 6
    endless = (Rule("Scene", ("Scene", "Scene"), 1e9), Rule("Scene", ()))
    stuck = Grammar(Schema((NodeClass("a"),)), "Scene", endless, {"Scene": Emission("a")}, max_steps=10)
    with pytest.raises(ValueError, match="max_steps = 10"):
        stuck.sample(seed(0))


def test_priors_give_their_distributions() -> None:
    grammar = table()
    summary = summarise(grammar.schema, grammar.sample_many(4000, seed(1)))
    for key, mean, std in (("object.0.x", -5, 1.5), ("object.1.x", 4, 1.5), ("object.2.y", 0, 2)):
        found = summary[key]
        assert isinstance(found, ContinuousSummary)
        assert abs(found.mean - mean) < 4 * std / np.sqrt(4000)
        assert abs(found.std / std - 1) < 0.06
    material, samples = summary["object.0.material"], summary["scene.samples"]
    assert isinstance(material, CategoricalSummary) and isinstance(samples, CategoricalSummary)
    assert np.allclose(material.probabilities, 0.5, atol=0.04)
    assert np.allclose(samples.probabilities, [0.8, 0.1, 0.1], atol=0.04)


def test_normals_are_censored_not_truncated_and_wrapped_where_periodic() -> None:
    lights = [float(scene.nodes[1]["intensity"]) for scene in table().sample_many(4000, seed(2))]
    assert abs(np.mean(np.array(lights) == 0) - 0.158655) < 4 * np.sqrt(0.16 * 0.84 / 4000)
    yaws = [float(d["yaw"]) for scene in digits().sample_many(400, seed(2)) for d in scene.find("digit")]
    assert min(yaws) >= 0 and max(yaws) < 360
    assert abs(np.mean(np.array(yaws) > 180) - 0.5) < 4 * 0.5 / np.sqrt(len(yaws))
    assert all(scene.nodes[0]["hue"] == 350 for scene in digits().sample_many(5, seed(2)))


def test_widened_and_with_priors() -> None:
    wide = summarise(table().schema, table().widened().sample_many(2000, seed(1)))
    x, size = wide["object.0.x"], wide["scene.samples"]
    assert isinstance(x, ContinuousSummary) and isinstance(size, CategoricalSummary)
    assert abs(x.std - 20 / np.sqrt(12)) < 0.3
    assert np.allclose(size.probabilities, 1 / 3, atol=0.05)
    changed = table().with_priors({"object.x": Constant(1.0), "object.2.x": Uniform(8, 9)})
    objects = list(changed.sample(seed(5)).find("object"))
    assert objects[0]["x"] != 1.0 and objects[1]["x"] == 1.0 and 8 <= float(objects[2]["x"]) <= 9


def test_attributes_come_in_the_schemas_order() -> None:
    keys = [k.key for k in table().attributes()]
    assert keys[:6] == [
        "scene.samples",
        "scene.bounces",
        "scene.size",
        "ambient.intensity",
        "back.intensity",
        "object.0.x",
    ]
    assert keys[6:9] == ["object.0.y", "object.0.material", "object.1.x"]
    assert "object.0.shape" in [k.key for k in table().attributes(mutable_only=False)]


BAD_PRIORS: list[tuple[str, Prior, str]] = [
    ("object.z", Constant(0.0), "'object.z', which is none of"),
    ("object.x", Normal(20, 1), "'object.x': .*outside \\[-10, 10\\]"),
    ("object.x", Normal(0, 0), "std above 0"),
    ("object.x", Uniform(-11, 0), "not within"),
    ("object.x", Uniform(3, 3), "low below high"),
    ("object.x", Constant(11), "outside"),
    ("object.x", Choice([1.0]), "continuous"),
    ("object.material", Normal(0, 1), "has choices"),
    ("object.material", Choice([1.0]), "1 weights for 2 choices"),
    ("object.material", Choice([0.0, 0.0]), "above 0"),
    ("object.material", Constant("wood"), "'wood' is not one of"),
]


@pytest.mark.parametrize(("key", "prior", "message"), BAD_PRIORS)
def test_bad_priors_are_named(key: str, prior: Prior, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table().with_priors({key: prior})


def test_bad_grammars_are_named() -> None:
    good = roads()

    def check(message: str, **changes: Any) -> None:
        with pytest.raises(ValueError, match=message):
            replace(good, **changes)

    check("start symbol 'S' heads no rule", start="S")
    check("'lorry' in rule 'Cars → lorry'", rules=(*good.rules, Rule("Cars", ("lorry",))))
    check("weight -1", rules=(*good.rules, Rule("Cars", (), -1)))
    check("'Cars' have no weight", rules=(*good.rules[:4], Rule("Cars", (), 0.0)))
    check("'Bus' is not reachable", rules=(*good.rules, Rule("Bus", ())))
    check("'car' is not reachable", rules=(*good.rules[:4], Rule("Cars", ())))
    check("no derivation of symbol 'Road' ends", rules=good.rules[:5])
    check("below the shortest derivation, 2", max_steps=1)
    check("class 'lane'", emissions={**good.emissions, "car": Emission("lane")})
    check("slot 1 is outside", emissions={**good.emissions, "car": Emission("car", 1)})
    check("no attribute 'z'", emissions={**good.emissions, "car": Emission("car", 0, {"z": 1})})
    check("'x' is mutable", emissions={**good.emissions, "car": Emission("car", 0, {"x": 1})})


@settings(max_examples=200)
@given(
    low=st.floats(-1e3, 1e3), span=st.floats(1e-2, 1e3), at=st.floats(0, 1), periodic=st.booleans(), key=st.integers(0)
)
def test_draws_are_always_in_range(low: float, span: float, at: float, periodic: bool, key: int) -> None:
    spec = Continuous("x", low, low + span, periodic=periodic)
    schema = Schema((NodeClass("a", (spec,)),))
    mean = min(low + at * span, spec.high)
    for prior in (Normal(mean, span), Uniform(low, spec.high)):
        grammar = Grammar(schema, "S", (Rule("S", ()),), {"S": Emission("a")}, {"a.x": prior})
        for scene in grammar.sample_many(3, seed(key)):
            schema.validate(scene)


def test_samples_do_not_depend_on_the_process_and_need_no_torch() -> None:
    code = (
        "import json, sys; from tests.scenes.examples import digits, seed;"
        "g = digits(); s = g.sample_many(3, seed(1)); a = g.schema.encode(s);"
        "print(json.dumps([[x.to_json() for x in s], g.schema.network_features(a).tolist(),"
        " [k.key for k in g.attributes()], 'torch' in sys.modules]))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    scenes, _, _, torch_imported = json.loads(outputs[0])
    assert scenes == [scene.to_json() for scene in digits().sample_many(3, seed(1))]
    assert not torch_imported


def test_strings_take_the_place_of_weights() -> None:
    """Exactly two digits, of equal classes: weights of rules cannot say so."""

    def strings(rng: np.random.Generator) -> list[int]:
        label = 3 + int(rng.integers(3))
        return [0, 1, label, 1, label, 2]

    grammar = replace(digits(), strings=strings)
    scenes = grammar.sample_many(60, seed(3))
    labels = [[d["label"] for d in scene.find("digit")] for scene in scenes]
    assert all(len(found) == 2 and found[0] == found[1] for found in labels)
    assert {found[0] for found in labels} == {0, 1, 2}
    rules = scenes[0].derivation or ()
    assert len(rules) == 6 and rules[:2] == (0, 1) and rules[3] == 1 and rules[5] == 2
    assert [s.to_json() for s in grammar.sample_many(5, seed(3))] == [s.to_json() for s in scenes[:5]]
    assert grammar.with_priors({"digit.x": Constant(3.0)}).sample(seed(4)).nodes[1]["x"] == 3.0
    with pytest.raises(ValueError, match="max_steps = 4"):
        replace(grammar, max_steps=4).sample(seed(0))
    with pytest.raises(ValueError, match="does not expand"):
        replace(digits(), strings=lambda rng: [0, 0]).sample(seed(0))


def test_the_shortest_derivation_is_counted() -> None:
    assert digits().shortest == 2


def test_widening_leaves_what_is_not_learned() -> None:
    grammar = table().with_priors({"object.shape": Choice([1.0, 0.0, 0.0])}).widened()
    found = [node["shape"] for scene in grammar.sample_many(30, seed(1)) for node in scene.find("object")]
    assert set(found) == {"sphere"}


def test_what_can_be_learned_is_what_is_mutable_and_where_rules_can_be_chosen() -> None:
    assert table().learnable == {"attributes", "continuous attributes"}
    assert "structure" in digits().learnable
    kinds = Schema((NodeClass("thing", (Categorical("kind", ("a", "b")), Continuous("size", 0, 1, mutable=False))),))
    rules, emissions = (Rule("Scene", ("Thing",)),), {"Thing": Emission("thing")}
    assert Grammar(kinds, "Scene", rules, emissions).learnable == {"attributes"}
    fixed = Schema((NodeClass("thing", (Continuous("size", 0, 1, mutable=False),)),))
    assert Grammar(fixed, "Scene", rules, emissions).learnable == set()
    several = (*rules, Rule("Scene", ("Thing", "Thing")))
    assert Grammar(fixed, "Scene", several, emissions).learnable == {"structure"}


def test_slots_are_interchangeable_where_nothing_but_what_is_learned_tells_them_apart() -> None:
    """Three objects whose learned places have priors of their own, and the same shapes and colours."""
    grammar = table()
    assert grammar.interchangeable == ("object",)
    assert digits().interchangeable == () == roads().interchangeable
    shapes = {"object.shape": Choice([1.0, 1.0, 0.0])}
    assert grammar.with_priors(shapes).interchangeable == ("object",)
    assert grammar.with_priors({"object.1.shape": Choice([1.0, 0.0, 0.0])}).interchangeable == ()
    fixed = {**grammar.emissions, "object2": Emission("object", 2, {"colour": 3})}
    assert replace(grammar, emissions=fixed).interchangeable == ()
    apart = (Rule("Scene", ("ambient", "back", "object0", "Rest")), Rule("Rest", ("object1", "object2")))
    assert replace(grammar, rules=apart).interchangeable == ()
    fewer = {symbol: e for symbol, e in grammar.emissions.items() if symbol != "object2"}
    rules = (Rule("Scene", ("ambient", "back", "object0", "object1")),)
    assert replace(grammar, emissions=fewer, rules=rules).interchangeable == ()
