"""A derivation in progress: which symbol is open, which rules may follow, which nodes have been emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autosim.scenes.grammar import Grammar


class Derivation:
    """A derivation in progress, leftmost symbol first.

    ``rules`` are the indices applied so far; ``emitted`` the symbols that have emitted a node, in order, and
    ``parents`` the index of each one's parent node (-1 for a root).
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rules: list[int] = []
        self.emitted: list[str] = []
        self.parents: list[int] = []
        # Symbol, index of the parent node, and how many times in a row the symbol was made by its own rule.
        self._open: list[tuple[str, int, int]] = [(grammar.start, -1, 0)]

    @property
    def done(self) -> bool:
        """Whether no non-terminal is open."""
        return not self._open

    @property
    def symbol(self) -> str:
        """The non-terminal that the next rule expands; ``ValueError`` where the derivation is done."""
        if not self._open:
            raise ValueError(f"derivation: no symbol is open after {len(self.rules)} rules")
        return self._open[-1][0]

    @property
    def repeats(self) -> int:
        """How many times in a row the open symbol was made by one of its own rules: the length so far of a list that a
        symbol makes; 0 where no symbol is open.
        """
        return self._open[-1][2] if self._open else 0

    def mask(self) -> NDArray[np.bool_]:
        """(K,) which of the grammar's K rules expand the open symbol; all False where the derivation is done."""
        mask = np.zeros(len(self.grammar.rules), dtype=bool)
        if self._open:
            mask[list(self.grammar.rules_of[self.symbol])] = True
        return mask

    def apply(self, rule: int) -> None:
        """Expand the open symbol; ``ValueError`` where the rule is not one of its own."""
        symbol = self.symbol
        if rule not in self.grammar.rules_of[symbol]:
            raise ValueError(
                f"derivation: step {len(self.rules)}: rule {rule} does not expand {symbol!r}, whose rules are "
                f"{list(self.grammar.rules_of[symbol])}"
            )
        _, parent, repeats = self._open.pop()
        self.rules.append(rule)
        parent = self._emit(symbol, parent)
        body = reversed(self.grammar.rules[rule].body)
        self._open.extend((part, parent, repeats + 1 if part == symbol else 0) for part in body)
        while self._open and self._open[-1][0] not in self.grammar.rules_of:
            self._emit(*self._open.pop()[:2])

    def _emit(self, symbol: str, parent: int) -> int:
        """Emit the symbol's node, if it has one; returns the parent of what its body emits."""
        if symbol not in self.grammar.emissions:
            return parent
        self.emitted.append(symbol)
        self.parents.append(parent)
        return len(self.emitted) - 1
