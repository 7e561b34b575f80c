"""Probabilistic scene grammars: symbols, rules, derivations with masks, and priors over attributes.

A derivation expands the leftmost open symbol first (a last-in-first-out stack). Expanding a symbol may emit a node; the
nodes emitted by its body become that node's children (Meta-Sim §3.1; rules, stack and masks: Meta-Sim2 §3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np

from autosim.scenes.derivation import Derivation
from autosim.scenes.graph import Attribute, Categorical, Continuous, Node, NodeClass, SceneGraph, Schema, Value
from autosim.scenes.priors import Choice, Constant, Normal, Prior, Uniform, pick, widest

__all__ = [
    "Choice",
    "Constant",
    "Derivation",
    "Emission",
    "Grammar",
    "KeyedAttribute",
    "Learnable",
    "Normal",
    "Prior",
    "Rule",
    "Uniform",
    "child_seed",
]

ATTEMPTS = 1000
Learnable = Literal["attributes", "continuous attributes", "structure"]


def child_seed(seed: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """The ``index``-th child of a seed sequence, a function of both alone (``spawn`` would count its calls)."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, index), pool_size=seed.pool_size)


@dataclass(frozen=True)
class Rule:
    """``head → body`` with a weight of at least 0 among the rules of its head; an empty body derives nothing."""

    head: str
    body: tuple[str, ...]
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.head} → {' '.join(self.body) or 'ε'}"


@dataclass(frozen=True)
class Emission:
    """The node that a symbol emits when it is expanded.

    ``fixed`` values belong to the structure (a rule for each digit, say), so they may only be given to immutable
    attributes: what generators learn is drawn from priors.
    """

    node_class: str
    slot: int = 0
    fixed: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyedAttribute:
    """An attribute of the nodes of one class and slot; ``key`` is ``Schema.key`` of such a node."""

    key: str
    node_class: str
    slot: int
    attribute: Attribute

    @property
    def prior_keys(self) -> tuple[str, str]:
        """Keys of the attribute's prior, in the order in which they are tried: its slot's, then its class's."""
        return self.key, f"{self.node_class}.{self.attribute.name}"


@dataclass(frozen=True)
class Grammar:
    """A distribution over scene graphs.

    A symbol is a non-terminal where it heads a rule, a terminal otherwise; terminals must emit a node. ``priors`` are
    in each attribute's own unit, keyed by ``Schema.key`` (``object.0.x``), else by ``class.attribute`` (``object.x``);
    an attribute without a prior is uniform over its range or choices. Derivations of more than ``max_steps`` rules are
    drawn again.

    ``strings`` replaces the rules' weights where these cannot express how structures are distributed (numbers of nodes
    that are uniform, say: a rule's probability would depend on the rules before it). It draws the indices of a
    derivation's rules, in order. ``arrange`` changes the attributes of a scene where separate priors cannot express how
    attributes depend on each other (objects in a row, say).

    Raises ``ValueError`` naming the symbol, rule or attribute at fault.
    """

    schema: Schema
    start: str
    rules: tuple[Rule, ...]
    emissions: Mapping[str, Emission] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    max_steps: int = 200
    strings: Callable[[np.random.Generator], Sequence[int]] | None = None
    arrange: Callable[[SceneGraph, np.random.Generator], SceneGraph] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        self._check_rules()
        self._check_emissions()
        self._check_priors()

    @cached_property
    def rules_of(self) -> dict[str, tuple[int, ...]]:
        """Indices of the rules of each non-terminal."""
        indices: dict[str, list[int]] = {}
        for i, rule in enumerate(self.rules):
            indices.setdefault(rule.head, []).append(i)
        return {head: tuple(found) for head, found in indices.items()}

    def attributes(self, mutable_only: bool = True) -> tuple[KeyedAttribute, ...]:
        """(Mutable) attributes of all nodes that can be emitted, in the schema's order, slot by slot."""
        emitted = {(e.node_class, e.slot) for e in self.emissions.values()}
        return tuple(
            KeyedAttribute(self.schema.key(Node(c.name, {}, slot), a.name), c.name, slot, a)
            for c in self.schema.classes
            for slot in range(c.slots)
            if (c.name, slot) in emitted
            for a in c.attributes
            if a.mutable or not mutable_only
        )

    @cached_property
    def learnable(self) -> frozenset[Learnable]:
        """What a generator may learn of the scenes: mutable attributes, continuous ones among them, and structure
        where a symbol has more than one rule.
        """
        kinds = [keyed.attribute for keyed in self.attributes()]
        found: dict[Learnable, bool] = {
            "attributes": bool(kinds),
            "continuous attributes": any(isinstance(kind, Continuous) for kind in kinds),
            "structure": any(len(rules) > 1 for rules in self.rules_of.values()),
        }
        return frozenset(name for name, present in found.items() if present)

    @cached_property
    def set_by_rules(self) -> frozenset[str]:
        """``class.attribute`` of the categorical attributes that different rules set to different choices."""
        values: dict[tuple[str, str], set[Value]] = {}
        for emission in self.emissions.values():
            for name, value in emission.fixed.items():
                values.setdefault((emission.node_class, name), set()).add(value)
        return frozenset(
            f"{node_class}.{name}"
            for (node_class, name), found in values.items()
            if len(found) > 1 and isinstance(self.schema.node_class(node_class).attribute(name), Categorical)
        )

    def prior(self, node_class: str, slot: int, attribute: str) -> Prior:
        """The prior of an attribute of a node; ``KeyError`` where the schema has no such class or attribute."""
        spec = self.schema.node_class(node_class).attribute(attribute)
        exact = self.priors.get(self.schema.key(Node(node_class, {}, slot), attribute))
        return exact or self.priors.get(f"{node_class}.{attribute}") or widest(spec)

    @cached_property
    def shortest(self) -> int:
        """Number of rules of the shortest derivation, counting only rules with a weight above 0."""
        return self._shortest()[self.start]

    @cached_property
    def interchangeable(self) -> tuple[str, ...]:
        """Classes with several slots that differ only in what is learned of them: scenes whose nodes are exchanged
        between these slots have the same picture.

        This holds where one rule makes the nodes of all slots, with the same fixed values, and the priors of their
        immutable attributes are equal.
        """
        return tuple(c.name for c in self.schema.classes if c.slots > 1 and self._alike(c))

    def _alike(self, node_class: NodeClass) -> bool:
        symbols = {e.slot: symbol for symbol, e in self.emissions.items() if e.node_class == node_class.name}
        own = [e for e in self.emissions.values() if e.node_class == node_class.name]
        together = [rule for rule in self.rules if set(symbols.values()) & set(rule.body)]
        if not len(own) == len(symbols) == node_class.slots or len(together) != 1:
            return False
        if any(together[0].body.count(symbol) != 1 or symbol in self.rules_of for symbol in symbols.values()):
            return False
        if any(dict(e.fixed) != dict(own[0].fixed) for e in own):
            return False
        fixed = [a.name for a in node_class.attributes if not a.mutable]
        priors = [[self.prior(node_class.name, slot, name) for name in fixed] for slot in range(node_class.slots)]
        return all(other == priors[0] for other in priors)

    def sample(self, seed: np.random.SeedSequence) -> SceneGraph:
        """One scene; ``ValueError`` where ``max_steps`` is exceeded 1000 times in a row."""
        rng = np.random.default_rng(seed)
        for _ in range(ATTEMPTS):
            derivation = self._structure(rng)
            if derivation is not None:
                return self._with_attributes(derivation, rng)
        raise ValueError(f"grammar: {ATTEMPTS} derivations in a row took more than max_steps = {self.max_steps} rules")

    def sample_many(self, count: int, seed: np.random.SeedSequence) -> list[SceneGraph]:
        """``count`` scenes; scene i is ``sample(child_seed(seed, i))``, whatever the count."""
        return [self.sample(child_seed(seed, i)) for i in range(count)]

    def derive(self, rule_indices: Sequence[int], seed: np.random.SeedSequence) -> SceneGraph:
        """The structure that a string of rules makes, with attributes from the priors.

        Raises ``ValueError`` where a rule does not expand the open symbol, or the string is too short or too long.
        """
        return self._with_attributes(self._derivation(rule_indices), np.random.default_rng(seed))

    def derivation(self, scene: SceneGraph) -> Derivation:
        """The derivation of a scene, from its string of rules; ``ValueError`` where it has none or it does not fit."""
        if scene.derivation is None:
            raise ValueError("grammar: the scene has no derivation: which rules made it is not known")
        return self._derivation(scene.derivation)

    def widened(self) -> Grammar:
        """The same rules, with every mutable attribute uniform over its range or choices."""
        learned = {key for keyed in self.attributes() for key in keyed.prior_keys}
        return replace(self, priors={key: prior for key, prior in self.priors.items() if key not in learned})

    def with_priors(self, priors: Mapping[str, Prior]) -> Grammar:
        """The same rules, with ``priors`` in place of the present ones (``object.0.x`` still goes before
        ``object.x``).
        """
        return replace(self, priors={**self.priors, **priors})

    @cached_property
    def _weights(self) -> dict[str, tuple[tuple[int, ...], list[float], list[float]]]:
        table = {}
        for head, indices in self.rules_of.items():
            weights = [float(self.rules[i].weight) for i in indices]
            table[head] = (indices, weights, list(accumulate(weights)))
        return table

    @cached_property
    def _draws(self) -> dict[str, tuple[NodeClass, list[tuple[Attribute, Prior]]]]:
        draws: dict[str, tuple[NodeClass, list[tuple[Attribute, Prior]]]] = {}
        for symbol, emission in self.emissions.items():
            node_class = self.schema.node_class(emission.node_class)
            draws[symbol] = (
                node_class,
                [
                    (a, Constant(emission.fixed[a.name]) if a.name in emission.fixed else prior)
                    for a in node_class.attributes
                    for prior in [self.prior(node_class.name, emission.slot, a.name)]
                ],
            )
        return draws

    def _structure(self, rng: np.random.Generator) -> Derivation | None:
        """One derivation; None where it takes more than ``max_steps`` rules."""
        if self.strings is not None:
            rules = self.strings(rng)
            return self._derivation(rules) if len(rules) <= self.max_steps else None
        derivation = Derivation(self)
        while not derivation.done and len(derivation.rules) < self.max_steps:
            indices, weights, cumulative = self._weights[derivation.symbol]
            derivation.apply(indices[pick(cumulative, weights, float(rng.random()))])
        return derivation if derivation.done else None

    def _derivation(self, rule_indices: Sequence[int]) -> Derivation:
        derivation = Derivation(self)
        for rule in rule_indices:
            derivation.apply(int(rule))
        if not derivation.done:
            raise ValueError(f"derivation: symbol {derivation.symbol!r} is still open after {len(rule_indices)} rules")
        return derivation

    def _with_attributes(self, derivation: Derivation, rng: np.random.Generator) -> SceneGraph:
        nodes = []
        for symbol in derivation.emitted:
            node_class, draws = self._draws[symbol]
            values = {attribute.name: prior.draw(attribute, rng) for attribute, prior in draws}
            nodes.append(Node(node_class.name, values, self.emissions[symbol].slot))
        scene = SceneGraph(tuple(nodes), tuple(derivation.parents), tuple(derivation.rules))
        return scene if self.arrange is None else self.arrange(scene, rng)

    def _check_rules(self) -> None:
        if self.start not in self.rules_of:
            raise ValueError(f"grammar: start symbol {self.start!r} heads no rule")
        for rule in self.rules:
            if not (math.isfinite(rule.weight) and rule.weight >= 0):
                raise ValueError(f"grammar: rule {str(rule)!r} has weight {rule.weight}, not a finite number >= 0")
            for symbol in rule.body:
                if symbol not in self.rules_of and symbol not in self.emissions:
                    raise ValueError(f"grammar: {symbol!r} in rule {str(rule)!r} neither heads a rule nor emits a node")
        for head, indices in self.rules_of.items():
            if sum(self.rules[i].weight for i in indices) <= 0:
                raise ValueError(f"grammar: the rules of {head!r} have no weight above 0")
        reached = list(self._reachable())
        for symbol in [*self.rules_of, *self.emissions]:
            if symbol not in reached:
                raise ValueError(f"grammar: symbol {symbol!r} is not reachable from {self.start!r}")
        shortest = self._shortest()
        for head in self.rules_of:
            if head not in shortest:
                raise ValueError(f"grammar: no derivation of symbol {head!r} ends")
        if shortest[self.start] > self.max_steps:
            raise ValueError(
                f"grammar: max_steps {self.max_steps} is below the shortest derivation, {shortest[self.start]}"
            )

    def _reachable(self) -> Iterator[str]:
        seen = {self.start: None}
        queue = [self.start]
        while queue:
            symbol = queue.pop()
            yield symbol
            for i in self.rules_of.get(symbol, ()):
                for found in self.rules[i].body:
                    if found not in seen:
                        seen[found] = None
                        queue.append(found)

    def _shortest(self) -> dict[str, int]:
        """Fewest rules that derive each non-terminal with weights above 0; those that never end are missing."""
        shortest: dict[str, int] = {}
        changed = True
        while changed:
            changed = False
            for rule in self.rules:
                parts = [0 if s not in self.rules_of else shortest.get(s) for s in rule.body]
                known = [part for part in parts if part is not None]
                if rule.weight == 0 or len(known) < len(parts):
                    continue
                steps = 1 + sum(known)
                if steps < shortest.get(rule.head, steps + 1):
                    shortest[rule.head] = steps
                    changed = True
        return shortest

    def _check_emissions(self) -> None:
        for symbol, emission in self.emissions.items():
            where = f"grammar: emission of symbol {symbol!r}"
            if emission.node_class not in self.schema.class_index:
                known = list(self.schema.class_index)
                raise ValueError(f"{where}: class {emission.node_class!r} is not one of {known}")
            node_class = self.schema.node_class(emission.node_class)
            if not 0 <= emission.slot < node_class.slots:
                raise ValueError(f"{where}: slot {emission.slot} is outside [0, {node_class.slots})")
            specs = {a.name: a for a in node_class.attributes}
            for name, value in emission.fixed.items():
                if name not in specs:
                    raise ValueError(f"{where}: class {node_class.name!r} has no attribute {name!r}")
                if specs[name].mutable:
                    raise ValueError(f"{where}: attribute {name!r} is mutable; only immutable attributes can be fixed")
                try:
                    specs[name].check(value)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from error

    def _check_priors(self) -> None:
        allowed: dict[str, Attribute] = {}
        for found in self.attributes(mutable_only=False):
            allowed |= dict.fromkeys(found.prior_keys, found.attribute)
        for key, prior in self.priors.items():
            if key not in allowed:
                raise ValueError(f"grammar: prior for {key!r}, which is none of {list(allowed)}")
            try:
                prior.check(allowed[key])
            except ValueError as error:
                raise ValueError(f"grammar: prior for {key!r}: {error}") from error
