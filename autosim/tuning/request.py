"""What a search is asked to do: which settings to try of which run, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from autosim.errors import UserError
from autosim.files import write_whole
from autosim.ranges import Checked, Range
from autosim.runs.config import RunConfig, plain
from autosim.search_space import Dimension
from autosim.tuning.settings import grid_settings

DEFAULT_SAMPLES = 16
# A grid of more settings is refused unless their number is given.
LARGE_GRID = 100


@dataclass(frozen=True)
class TuneSettings(Checked):
    """How the settings of an algorithm are tried."""

    samples: Annotated[int | None, Range(least=1)] = None
    """Settings to try, the default one among them (default: 16; on a grid all of it, if these are at most 100)."""
    dimensions: str | None = None
    """Options to tune, with commas between (default: all that the algorithm declares and that are not given)."""
    search: Literal["random", "grid", "optuna"] = "random"
    """Where settings come from: drawn at random, all combinations (of a range both ends and the middle), or Optuna."""
    scheduler: Literal["asha", "none"] = "asha"
    """asha stops trials early that are worse than others at the same share of the budget; none lets all go on."""
    grace: Annotated[float, Range(above=0, most=1)] = 0.25
    """Share of the budget that every trial may use before it can be stopped."""
    reduction: Annotated[float, Range(above=1)] = 2.0
    """How many times fewer trials go on past each stop; the share of the budget between stops grows by as much."""
    metric: str = "val_score"
    """Figure to go by; a trial's value is the best of it in any iteration."""
    mode: Literal["max", "min"] = "max"
    """Whether a large or a small figure is good."""
    concurrent: Annotated[int | None, Range(least=1)] = None
    """Trials at once (default: as many as there are CPUs for)."""


@dataclass(frozen=True)
class TuneRequest:
    """A search. ``config`` is the default setting's run; ``space`` is what is tuned, ``fixed`` options left out.

    ``resume`` is the folder of a search to go on with; ``out`` that of a new one, None leaving the name to it.
    """

    config: RunConfig
    settings: TuneSettings
    space: Mapping[str, Dimension]
    fixed: tuple[str, ...]
    out: Path | None = None
    resume: Path | None = None

    @property
    def default(self) -> dict[str, Any]:
        """The default setting: what the run's own configuration says."""
        return {name: getattr(self.config.algo_config, name) for name in self.space}

    @property
    def samples(self) -> int:
        """Settings to try; ``UserError`` where a grid has more than were asked for."""
        wanted = self.settings.samples
        if self.settings.search != "grid":
            return wanted or DEFAULT_SAMPLES
        size = len(grid_settings(self.space, self.default))
        if size > (wanted or LARGE_GRID):
            found = f"{wanted} is below" if wanted else f"at most {LARGE_GRID} unless given, below"
            raise UserError(f"--samples: {found} the {size} settings of the grid; choose fewer with --dimensions")
        return size

    def write(self, path: Path) -> None:
        """``config.yaml`` and ``tune.yaml``, from which a search is taken up."""
        import yaml

        write_whole(path / "config.yaml", yaml.safe_dump(self.config.to_dict(), sort_keys=False).encode())
        content = {**plain(asdict(self.settings)), "fixed": list(self.fixed)}
        write_whole(path / "tune.yaml", yaml.safe_dump(content, sort_keys=False).encode())
