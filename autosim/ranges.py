"""Ranges of options, declared with their types, checked where a dataclass is made and shown in ``--help``.

class Settings(Checked):
    rate: Annotated[float, Range(above=0)] = 0.1
    share: Annotated[float, Range(least=0, below=1)] = 0.5
    mode: Literal["fast", "slow"] = "fast"
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

# No option has a use for a number beyond this one; 1e308 would only fail later, and less clearly.
LARGEST = 1e12


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a number has to be: finite, and ``above`` or at ``least`` one bound, ``below`` or at ``most`` another."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value, to be put after it; None where nothing is."""
        if isinstance(value, bool) or not isinstance(value, Real):
            return "is not a number"
        number = float(value)
        too_low = (self.above is not None and not number > self.above) or (
            self.least is not None and not number >= self.least
        )
        too_high = (self.below is not None and not number < self.below) or (
            self.most is not None and not number <= self.most
        )
        if too_low or too_high:
            if self.above is not None and self.below is self.most is None:
                return f"is not above {self.above:g}"
            return f"is below {self.least:g}" if self.below is self.most is None else f"is not {self}"
        if not math.isfinite(number):
            return "is not a finite number"
        return None if abs(number) <= LARGEST else f"is not between -{LARGEST:g} and {LARGEST:g}"

    def __str__(self) -> str:
        """``above 0``, ``at least 1`` or ``in (0, 1]``; empty for any finite number."""
        low, high = self.above if self.least is None else self.least, self.below if self.most is None else self.most
        if high is None:
            return "" if low is None else f"at least {low:g}" if self.above is None else f"above {low:g}"
        left, right = "(" if self.least is None else "[", ")" if self.most is None else "]"
        return f"in {left}{'-infinity' if low is None else f'{low:.10g}'}, {high:.10g}{right}"


@dataclass(frozen=True)
class Rule:
    """What the values of a field have to be: in a ``range``, ``whole`` numbers or not, or one of ``choices``."""

    range: Range | None
    whole: bool
    optional: bool
    choices: tuple[Any, ...]

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value, to be put after it; None where nothing is."""
        if self.choices:
            return None if value in self.choices else f"is not one of {list(self.choices)}"
        if self.range is None or (value is None and self.optional):
            return None
        fault = self.range.fault(value)
        return "is not a whole number" if fault is None and self.whole and not isinstance(value, Integral) else fault


class Checked:
    """A dataclass that refuses values outside of the declared ranges and choices, in one line: ``field: value …``."""

    def __post_init__(self) -> None:
        config: Any = type(self)
        for name, rule in rules(config).items():
            value = getattr(self, name)
            if (fault := rule.fault(value)) is not None:
                raise ValueError(f"{name}: {value!r} {fault}")


@cache
def rules(config: Any) -> dict[str, Rule]:
    """The rule of each field of a dataclass whose type is a number or one of some values."""
    hints = get_type_hints(config, include_extras=True)
    return {found.name: rule for found in fields(config) if (rule := _rule(hints[found.name])) is not None}


def _rule(hint: Any) -> Rule | None:
    declared = Range()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        declared = next((extra for extra in extras if isinstance(extra, Range)), declared)
    if get_origin(hint) is Literal:
        return Rule(None, False, False, get_args(hint))
    kinds = set(get_args(hint)) or {hint}
    optional = type(None) in kinds
    kinds -= {type(None)}
    return Rule(declared, kinds == {int}, optional, ()) if kinds and kinds <= {int, float} else None
