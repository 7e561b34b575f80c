"""Meta-Sim2 (Devaranjan, Kar and Fidler, ECCV 2020): which things are in a scene, learned by reinforcement.

§3: draw strings of rules, render, and lower by the score function how much likelier each scene's features are among the
generated than among the target's, ``log q(φ) − log p(φ)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autosim.algorithm import Algorithm, Metrics
from autosim.learning.schedule import half_cosine
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, tunable

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class MetaSim2Config(Checked):
    """Options of Meta-Sim2.

    Args:
        iterations: steps of the policy.
        batch_size: scenes rendered in a step, M in the paper.
        learning_rate: of Adam; it falls to 0 on half a cosine.
        longest: most rules in a scene's derivation, T_max; 0 for half as many again as the longest of the prior's.
        penalty: λ, added to the cost of scenes before which more than patience longer ones were rejected.
        patience: ε.
        ending: weight of ½ log² of the share of strings that are not rejected; 0 is the paper's.
        reward: log q − log p by kernel densities of each count (density) or of all together (joint, the paper's); mmd.
        bandwidth: of kernels, in things counted; joint: times the root of the number of features (1 is the paper's).
        memory: scenes that a step uses, weighted by how much likelier they have become; 0 (the paper) its own alone.
        updates: of the policy in a step, where scenes are held.
        baseline_decay: of the moving average of costs, where none are held.
        context: let the policy see the rules so far; without, it is a probabilistic context-free grammar.
        lengths: give it the length of the list so far: numbers are learned sooner, but lists are
            harder to learn apart from each other.
        pretraining: strings of the prior that the policy imitates before it learns.
        feature_frames: frames of the prior that the feature network is trained on.
        feature_batch: frames in a batch of that training; in smaller ones it takes more steps in the same time.
        score_every: steps from one training of the task network to the next; its score is only reported.
        parameters: folder of a metasim run whose transformer sets the attributes; empty for the prior's.
    """

    iterations: Annotated[int, Range(least=1)] = 120
    batch_size: Annotated[int, Range(least=4)] = tunable(64, OneOf((32, 64, 128)))
    learning_rate: Annotated[float, Range(above=0)] = tunable(3e-3, LogUniformRange(3e-4, 3e-2))
    longest: Annotated[int, Range(least=0)] = 0
    penalty: Annotated[float, Range(least=0)] = 1e-2
    patience: Annotated[int, Range(least=0)] = 1
    ending: Annotated[float, Range(least=0)] = 1.0
    reward: Literal["density", "joint", "mmd"] = "density"
    bandwidth: Annotated[float, Range(above=0)] = tunable(0.4, LogUniformRange(0.1, 2.0))
    memory: Annotated[int, Range(least=0)] = tunable(1000, OneOf((0, 500, 1000, 2000)))
    updates: Annotated[int, Range(least=1)] = tunable(4, OneOf((1, 2, 4, 8)))
    baseline_decay: Annotated[float, Range(least=0, below=1)] = 0.9
    context: bool = True
    lengths: bool = False
    pretraining: Annotated[int, Range(least=1)] = 2000
    feature_frames: Annotated[int, Range(least=1)] = 4000
    feature_batch: Annotated[int, Range(least=2)] = 32
    score_every: Annotated[int, Range(least=1)] = 20
    parameters: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lengths and not self.context:
            raise ValueError("lengths: without context the policy sees nothing of the rules so far")


class MetaSim2(Algorithm):
    """Distribution matching over scene structure through a grammar policy."""

    name: ClassVar[str] = "metasim2"
    Config: ClassVar[type] = MetaSim2Config
    needs = ("structure",)

    def __init__(self, session: Session, config: MetaSim2Config) -> None:
        import torch

        from algorithms.task_network import OnlineTaskNetwork
        from autosim.learning.density import DensityRatio
        from autosim.learning.divergence import DistributionMatcher
        from autosim.learning.features.sources import structure_features
        from autosim.learning.imitation import imitate, prior_strings
        from autosim.learning.replay.strings import StringReplay
        from autosim.scenes.generator import MovingAverage
        from autosim.scenes.policy import GrammarPolicy

        super().__init__(session, config)
        grammar, seed = session.env.prior(), session.seed_sequence("prior strings")
        strings, longest = prior_strings(grammar, config.pretraining, config.longest, seed)
        told = {"context": config.context, "lengths": config.lengths}
        self.policy = GrammarPolicy(grammar, longest, seed=session.integer_seed("policy"), **told).to(session.device)
        if config.parameters:
            from algorithms.trained import load_transformer

            self.policy.transformer = load_transformer(config.parameters, session.env).to(session.device)
        with session.stage("pre-training"):
            self.likelihood = imitate(self.policy, strings, session.seed_sequence("imitation"))
        source = session.load_features(
            partial(structure_features, count=config.feature_frames, batch_size=config.feature_batch)
        )
        self.features = source.features
        target = self.features.of_images(session.target.images.images, session.device)
        groups = None if config.reward == "joint" else self.features.groups
        self.ratio = DensityRatio(target, groups, config.bandwidth)
        self.matcher = DistributionMatcher(target, source.reference, groups)
        self.cost = self.matcher.witness if config.reward == "mmd" else self.ratio
        self.optimiser = torch.optim.Adam(self.policy.learned(), lr=config.learning_rate)
        self.baseline, self.replay = MovingAverage(config.baseline_decay), StringReplay(config.memory)
        self.task = OnlineTaskNetwork(session, steps=1, rate=2e-3, scored=200)
        self.score: float | None = None

    @classmethod
    def shown(cls, config: MetaSim2Config) -> str:
        """The images alone."""
        return "images"

    @property
    def generator(self) -> SceneGenerator:
        """The grammar policy."""
        return self.policy

    def step(self, iteration: int) -> Metrics:
        """One batch of strings, one step of the policy, or a few on all that are held."""
        session, config = self.session, self.config
        decay = half_cosine(session.progress(iteration, config.iterations))
        self.optimiser.param_groups[0]["lr"] = config.learning_rate * decay
        strings = self.policy.sample_strings(config.batch_size, session.seed_sequence("strings", iteration))
        samples = self.policy.scenes_of(strings.rules, session.seed_sequence("attributes", iteration))
        drawn = session.draw(samples.scenes, "frames", iteration)
        phi = self.features.of_images(drawn.frames.images, session.device)
        penalties = config.penalty * (strings.rejections.to(phi.device) > config.patience).double()
        refused = math.log1p(float(strings.rejections.double().mean()))
        if config.memory:
            self.replay.add(strings.rules, phi, penalties, self.policy.log_prob_of(strings.rules).detach() + refused)
            encoded = self.policy.encode(self.replay.rules)
            log_probs = self.policy.log_prob_encoded(*encoded)
            cost = self.cost(self.replay.features, self.replay.weights(log_probs)) + self.replay.penalties
            for update in range(config.updates):
                log_probs = self.policy.log_prob_encoded(*encoded) if update else log_probs
                weights = self.replay.weights(log_probs)
                self.descend((weights * (cost - weights @ cost - config.ending * refused) * log_probs).sum())
        else:
            cost = self.cost(phi) + penalties
            baseline = self.baseline.update(float(cost.mean())) + config.ending * refused
            self.descend(self.policy.score_function_loss(samples, cost - baseline))
        if iteration % config.score_every == 0:
            self.score = self.task(drawn, iteration)
        return {
            "val_score": self.score,
            "divergence": float(self.ratio(phi).mean()),
            "mmd2": float(self.matcher(phi)),
            "rejected": float((penalties > 0).double().mean()),
            "rules": sum(map(len, strings.rules)) / len(strings.rules),
        }

    def descend(self, loss: Tensor) -> None:
        """One step of the policy."""
        from torch.nn.utils import clip_grad_norm_

        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(self.policy.learned(), 1.0)
        self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Policy, optimiser, baseline, the scenes held, and the task network."""
        return {
            "policy": self.policy.state_dict(),
            "longest": self.policy.longest,
            "optimiser": self.optimiser.state_dict(),
            "baseline": self.baseline.value,
            "replay": self.replay.state_dict(),
            "task": self.task.state_dict(),
            "score": self.score,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.policy.load_state_dict(state["policy"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.baseline.value, self.score = state["baseline"], state["score"]
        self.replay.load_state_dict(state["replay"])
        self.task.load_state_dict(state["task"])

    def summary(self) -> dict[str, float]:
        """How well the prior was imitated, in nats a scene."""
        return {"pretraining_log_likelihood": self.likelihood}
