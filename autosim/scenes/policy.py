"""Meta-Sim2's grammar policy: a recurrent network that chooses the rules of a scene's derivation, one after another.

Devaranjan, Kar and Fidler, "Meta-Sim2", ECCV 2020, §3.1: a latent vector and the rules so far give logits over all
rules; a mask leaves those of the symbol on top of a last-in-first-out stack; ``q(T) = Π_t p(r_t | r_1 … r_{t−1})``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.errors import UserError
from autosim.scenes.generator import Part, Samples, SceneGenerator
from autosim.scenes.grammar import Derivation, Grammar, child_seed
from autosim.scenes.graph import SceneGraph
from autosim.seeding import torch_seeded

if TYPE_CHECKING:
    from autosim.scenes.transformer import DistributionTransformer

# After this many strings in a row that are too long, the policy counts as one that does not end its strings.
ATTEMPTS = 100


@dataclass(frozen=True)
class RuleStrings:
    """Strings of rule indices, and how many longer ones were drawn and rejected before each, int64 (n,)."""

    rules: tuple[tuple[int, ...], ...]
    rejections: Tensor


class GrammarPolicy(SceneGenerator):
    """A distribution over the derivations of ``grammar``; attributes are drawn from the grammar's priors.

    With ``lengths`` the network also reads how long the present list is so far, beside the paper's latent vector and
    rules: it learns numbers of things far sooner, but separates one list's numbers less well from another's.

    ``longest`` (T_max) is the most rules that a derivation may have; longer strings are drawn again. ``width`` is the
    number of units of the recurrent network. With ``context`` False the network does not see the rules so far, and the
    policy is a probabilistic context-free grammar, for comparison. ``transformer``, where one is set, transforms the
    attributes of scenes; it is not learned here.

    Raises ``ValueError`` where no derivation is short enough.
    """

    def __init__(
        self,
        grammar: Grammar,
        longest: int = 100,
        width: int = 64,
        seed: int = 0,
        context: bool = True,
        lengths: bool = False,
    ) -> None:
        super().__init__()
        if longest < 1 or width < 1:
            raise ValueError(f"grammar policy: longest {longest} and width {width} have to be at least 1")
        if grammar.shortest > longest:
            raise ValueError(f"grammar policy: the shortest derivation has {grammar.shortest} rules, above {longest}")
        self.grammar, self.schema, self.longest, self.context = grammar, grammar.schema, longest, context
        self.lengths = lengths
        self.rule_count = len(grammar.rules)
        symbols = list(grammar.rules_of)
        self._symbol_index = {symbol: i for i, symbol in enumerate(symbols)}
        allowed = torch.zeros(len(symbols), self.rule_count, dtype=torch.bool)
        for symbol, rules in grammar.rules_of.items():
            allowed[self._symbol_index[symbol], list(rules)] = True
        self.register_buffer("_allowed", allowed, persistent=False)
        with torch_seeded(seed):
            # One vector for each rule in the input, and a last one for the beginning.
            self.embedding = nn.Embedding(self.rule_count + 1, width)
            self.opened = nn.Embedding(len(symbols), width)
            self.recurrent = nn.LSTM(width, width, batch_first=True)
            self.latent = nn.Parameter(0.1 * torch.randn(2, 1, 1, width))
            self.output = nn.Linear(width, self.rule_count)
            if lengths:
                # Added to the logits by the length of a list: a recurrent network learns to count only slowly.
                self.repeated = nn.Embedding(longest + 1, self.rule_count)
                nn.init.zeros_(self.repeated.weight)
        self.transformer: DistributionTransformer | None = None

    def learned(self) -> list[nn.Parameter]:
        """Parameters of the policy itself."""
        parts = [self.embedding, self.opened, self.recurrent, self.output, *([self.repeated] if self.lengths else [])]
        return [self.latent, *(parameter for part in parts for parameter in part.parameters())]

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """Draw ``count`` scenes; ``values`` is empty, because attributes are not learned here."""
        return self.scenes_of(self.sample_strings(count, child_seed(seed, 0)).rules, child_seed(seed, 1))

    def scenes_of(self, rules: Sequence[tuple[int, ...]], seed: np.random.SeedSequence) -> Samples:
        """Scenes of given strings, with attributes from the priors, or from the transformer."""
        scenes = [self.grammar.derive(string, child_seed(seed, i)) for i, string in enumerate(rules)]
        if self.transformer is not None:
            with torch.no_grad():
                scenes = list(self.transformer.transform(scenes, child_seed(seed, len(rules))).scenes)
        return Samples(tuple(scenes), torch.empty(0))

    @torch.no_grad()
    def sample_strings(self, count: int, seed: np.random.SeedSequence) -> RuleStrings:
        """Draw ``count`` strings; ``UserError`` where one is too long 100 times in a row."""
        found: dict[int, tuple[int, ...]] = {}
        rejections = torch.zeros(count, dtype=torch.int64)
        for attempt in range(ATTEMPTS):
            open_places = [i for i in range(count) if i not in found]
            if not open_places:
                break
            uniform = np.random.default_rng(child_seed(seed, attempt)).random((count, self.longest))
            for place, string in zip(open_places, self._draw(uniform[open_places]), strict=True):
                if string is None:
                    rejections[place] += 1
                else:
                    found[place] = string
        if len(found) < count:
            raise UserError(
                f"grammar policy: {ATTEMPTS} strings in a row had more than {self.longest} rules; it no longer ends "
                "them, which a lower learning rate or a greater longest may mend"
            )
        return RuleStrings(tuple(found[i] for i in range(count)), rejections)

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """(count,) float64 log-probability of each scene's derivation, before rejection; 0 for continuous parts.

        ``ValueError`` where a scene has no derivation, or one that is not of this grammar.
        """
        if part == "continuous":
            return torch.zeros(len(samples), dtype=torch.float64, device=self.latent.device)
        return self.log_prob_of([_derivation(scene, i) for i, scene in enumerate(samples.scenes)])

    def log_prob_of(self, rules: Sequence[Sequence[int]]) -> Tensor:
        """The same for strings of rules."""
        return self.log_prob_encoded(*self.encode(rules))

    def encode(self, rules: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Strings of rules as :meth:`log_prob_encoded` takes them: the rules, the symbols that they expand, and the
        ``Derivation.repeats`` of each, all int64 (n, t), padded to the longest. ``ValueError`` where one is no
        derivation.
        """
        longest = max([1, *(len(string) for string in rules)])
        taken = np.full((len(rules), longest), self.rule_count, dtype=np.int64)
        symbols, repeats = (np.zeros((len(rules), longest), dtype=np.int64) for _ in range(2))
        for i, string in enumerate(rules):
            derivation = Derivation(self.grammar)
            for t, rule in enumerate(string):
                symbols[i, t] = self._symbol_index[derivation.symbol]
                repeats[i, t] = derivation.repeats
                derivation.apply(int(rule))
                taken[i, t] = rule
        first, second, third = (torch.from_numpy(part).to(self.latent.device) for part in (taken, symbols, repeats))
        return first, second, third

    def log_prob_encoded(self, rules: Tensor, symbols: Tensor, repeats: Tensor) -> Tensor:
        """(n,) float64 log-probability of encoded strings."""
        begun = torch.full_like(rules[:, :1], self.rule_count)
        logits, _ = self._logits(torch.cat([begun, rules[:, :-1]], dim=1), symbols, repeats, None)
        known = rules < self.rule_count
        chosen = logits.double().log_softmax(dim=2).gather(2, rules.clamp(max=self.rule_count - 1)[..., None])
        return torch.where(known, chosen[..., 0], torch.zeros((), dtype=torch.float64, device=chosen.device)).sum(1)

    def _logits(
        self, previous: Tensor, symbols: Tensor, repeats: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(n, t, K) logits, minus infinity for rules that do not expand the open symbol, and the state after."""
        if state is None:
            state = tuple(part.expand(1, len(previous), -1).contiguous() for part in self.latent)
        seen = self.embedding(previous if self.context else torch.full_like(previous, self.rule_count))
        inputs = seen + self.opened(symbols)
        if self.context:
            inputs, state = self.recurrent(inputs, state)
        logits = self.output(inputs)
        if self.lengths:
            logits = logits + self.repeated(repeats.clamp(max=self.longest))
        allowed = self._allowed
        assert isinstance(allowed, Tensor)
        return logits.masked_fill(~allowed[symbols], float("-inf")), state

    def _draw(self, uniform: NDArray[np.float64]) -> list[tuple[int, ...] | None]:
        """A string for each row of ``uniform`` (n, longest); None where it would be longer."""
        derivations = [Derivation(self.grammar) for _ in uniform]
        active = np.arange(len(derivations))
        device = self.latent.device
        previous = torch.full((len(active), 1), self.rule_count, device=device)
        state: tuple[Tensor, Tensor] | None = None
        for t in range(self.longest):
            symbols = torch.tensor([[self._symbol_index[derivations[i].symbol]] for i in active], device=device)
            repeats = torch.tensor([[derivations[i].repeats] for i in active], device=device)
            logits, state = self._logits(previous, symbols, repeats, state)
            cumulative = logits[:, 0].double().softmax(dim=1).cumsum(dim=1)
            # Slightly below the sum, so that rounding never picks a rule of probability 0 after the last possible one.
            drawn = torch.from_numpy(uniform[active, t]).to(device) * cumulative[:, -1] * (1 - 1e-12)
            rules = torch.searchsorted(cumulative, drawn[:, None], right=True).clamp(max=self.rule_count - 1)
            for i, rule in zip(active, rules[:, 0].tolist(), strict=True):
                derivations[i].apply(rule)
            left = np.array([not derivations[i].done for i in active], dtype=bool)
            active = active[left]
            if not len(active):
                break
            kept = torch.from_numpy(left).to(device)
            previous = rules[kept]
            state = (state[0][:, kept], state[1][:, kept])
        return [tuple(d.rules) if d.done else None for d in derivations]


def _derivation(scene: SceneGraph, index: int) -> tuple[int, ...]:
    if scene.derivation is None:
        raise ValueError(f"scene {index} has no derivation: which rules made it is not known")
    return scene.derivation
