"""A posterior over the parameters that a set of pictures was drawn with, given the pictures' features.

The set is reduced to moments, which do not depend on the pictures' order, and these to regressions of the parameters
(Fearnhead and Prangle, "Constructing summary statistics for approximate Bayesian computation", JRSS B 2012). Given
these, a flow of the package ``sbi`` is the density (Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for
Density Estimation", NeurIPS 2017). Calibration by ranks: Talts et al., "Validating Bayesian Inference Algorithms with
Simulation-Based Calibration", 2018.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autosim.errors import UserError
from autosim.learning.divergence import Standardiser
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit
from autosim.seeding import torch_seeded

if TYPE_CHECKING:
    from autosim.learning.features.sources import ReferencedFeatures

# Coordinates are this far from 0 and 1 at least, where their log-odds would be infinite.
EDGE = 1e-3
# Share of the sets by whose loss training is stopped, and the passes that it goes on for without a better one.
ASIDE = 0.15
PATIENCE = 20
BATCH = 20
# Draws that a true value is ranked among.
RANKED = 200
# Penalties of the regression that are tried, for inputs of variance 1 in all, a set each; and the parts of the sets.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 8


def require_sbi() -> None:
    """``UserError`` where the package is missing."""
    try:
        import sbi  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise UserError("sbi is not installed: pip install 'autosim-engine[sbi]' does that") from error


class Moments:
    """Means and standard deviations of each image feature over a set of pictures, whatever their order.

    Features are standardised over the run's broad reference; a group of them has the total variance of its weight.
    """

    def __init__(self, source: ReferencedFeatures) -> None:
        features = source.features
        self.standardiser = Standardiser(source.reference)
        sizes = torch.tensor([group.stop - group.start for group in features.groups])
        self.scale = torch.repeat_interleave((torch.tensor(features.weights) / sizes).sqrt(), sizes)
        self.scale = self.scale.to(source.reference)

    def __call__(self, features: Tensor, size: int) -> Tensor:
        """(S, 2 d) on the CPU, of the features (S · size, d) of sets of ``size`` pictures, one set after another."""
        sets = (self.standardiser(features) * self.scale).unflatten(0, (-1, size))
        return torch.cat([sets.mean(dim=1), sets.std(dim=1, correction=0)], dim=1).cpu()


class Regression:
    """Ridge regression of ``targets`` (N, k) on ``inputs`` (N, m), its penalty chosen by predictions of sets that a fit
    has not seen. ``unseen`` (N, k) are those predictions: what others learn from, as predictions of a fit's own sets
    would look better than any to come.
    """

    def __init__(self, inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self.middle = inputs.mean(axis=0)
        self.size = float(np.sqrt(((inputs - self.middle) ** 2).sum(axis=1).mean())) or 1.0
        scaled = (inputs - self.middle) / self.size
        tried = [self._unseen(scaled, targets, penalty) for penalty in PENALTIES]
        best = min(range(len(tried)), key=lambda i: float(((tried[i] - targets) ** 2).mean()))
        self.unseen = tried[best]
        self.slopes, self.offset = _ridge(scaled, targets, PENALTIES[best])

    def __call__(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, k) predictions for inputs (n, m)."""
        found: NDArray[np.float64] = (inputs - self.middle) / self.size @ self.slopes + self.offset
        return found

    @staticmethod
    def _unseen(inputs: NDArray[np.float64], targets: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
        found, part = np.zeros_like(targets), np.arange(len(inputs)) % FOLDS
        for i in range(FOLDS):
            slopes, offset = _ridge(inputs[part != i], targets[part != i], penalty)
            found[part == i] = inputs[part == i] @ slopes + offset
        return found


def _ridge(
    inputs: NDArray[np.float64], targets: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes (m, k) and offset (k,), by the products of sets: there may be fewer sets than inputs."""
    middle, level = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - middle
    products = centred @ centred.T + penalty * len(inputs) / FOLDS * np.eye(len(inputs))
    slopes = centred.T @ np.linalg.solve(products, targets - level)
    return slopes, level - middle @ slopes


@dataclass
class SetPosterior:
    """Density of coordinates in [0, 1]^D, which are uniform beforehand, given moments (m,) of a set.

    The flow is over their log-odds, so that no sample lies outside.
    """

    regression: Regression
    scale: tuple[NDArray[np.float64], NDArray[np.float64]]
    estimator: Any

    @staticmethod
    def fit(
        coordinates: NDArray[np.float64],
        moments: Tensor,
        circles: NDArray[np.bool_],
        epochs: int,
        rate: float,
        width: int,
        seed: int,
    ) -> SetPosterior:
        """Train on ``coordinates`` (N, D), of which ``circles`` (D,) go round, and ``moments`` (N, m) for at most so
        many ``epochs``; what comes back is the state of the least loss on sets that were kept aside.
        """
        require_sbi()
        from sbi.neural_nets import posterior_nn  # type: ignore[import-untyped]

        angles = 2 * np.pi * coordinates[:, circles]
        targets = np.concatenate([coordinates[:, ~circles], np.cos(angles), np.sin(angles)], axis=1)
        regression = Regression(moments.double().numpy(), targets)
        scale = regression.unseen.mean(axis=0), regression.unseen.std(axis=0) + 1e-6
        summaries = torch.from_numpy((regression.unseen - scale[0]) / scale[1]).float()
        odds = torch.logit(torch.from_numpy(coordinates).float().clamp(EDGE, 1 - EDGE))
        order = torch.Generator().manual_seed(seed)
        shuffled, aside = torch.randperm(len(odds), generator=order), max(1, int(ASIDE * len(odds)))
        held, kept = shuffled[:aside], shuffled[aside:]
        with torch_seeded(seed):
            # In the other implementation that sbi has, nflows', a flow's first dimension does not see the condition.
            build = posterior_nn("zuko_maf", z_score_x="none", hidden_features=width, num_transforms=2)
            estimator = build(odds[kept], summaries[kept])
            optimiser = torch.optim.AdamW(estimator.parameters(), lr=rate, weight_decay=0.1)
            best, state, since = float("inf"), copy.deepcopy(estimator.state_dict()), 0

            def loss_of(batch: Tensor) -> Tensor:
                loss: Tensor = estimator.loss(odds[kept[batch]], summaries[kept[batch]]).mean()
                return loss

            for _ in range(epochs):
                estimator.train()
                # One pass; the optimiser has its own rate.
                fit(estimator, len(kept), TrainingSchedule(1, BATCH), order, loss_of, optimiser=optimiser)
                estimator.eval()
                with torch.no_grad():
                    loss = float(estimator.loss(odds[held], summaries[held]).mean())
                if loss < best:
                    best, state, since = loss, copy.deepcopy(estimator.state_dict()), 0
                elif (since := since + 1) > PATIENCE:
                    break
        estimator.load_state_dict(state)
        return SetPosterior(regression, scale, estimator.eval())

    @torch.no_grad()
    def sample(self, moments: Tensor, count: int, seed: int) -> NDArray[np.float64]:
        """(count, S, D) draws for each of ``moments`` (S, m)."""
        summaries = (self.regression(moments.double().numpy()) - self.scale[0]) / self.scale[1]
        with torch_seeded(seed):
            drawn: Tensor = self.estimator.sample((count,), torch.from_numpy(summaries).float())
        return torch.sigmoid(drawn.double()).numpy()

    def ranks(self, coordinates: NDArray[np.float64], moments: Tensor, seed: int) -> NDArray[np.float64]:
        """(S, D) share of the posterior's draws that are below the true ``coordinates`` (S, D): uniform where the
        posterior is calibrated.
        """
        truth = coordinates.clip(EDGE, 1 - EDGE)
        shares: NDArray[np.float64] = (self.sample(moments, RANKED, seed) < truth).mean(axis=0)
        return shares


def calibration(ranks: NDArray[np.float64]) -> tuple[float, float]:
    """Of ranks (S, D): the mean over dimensions of the largest distance between their distribution and the uniform one
    (Kolmogorov and Smirnov's), and the probability that calibrated ranks would be as far off in the worst dimension
    (corrected for how many there are).
    """
    from scipy.stats import kstest

    tests = [kstest(column, "uniform") for column in ranks.T]
    least = min(float(test.pvalue) for test in tests)
    return float(np.mean([test.statistic for test in tests])), min(1.0, least * len(tests))
