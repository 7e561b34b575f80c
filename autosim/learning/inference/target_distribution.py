"""From a target's images to the parameters of a generator: a reader of scenes, kept, refined and corrected."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autosim.cache import cached_tensors
from autosim.learning.inference.attributes import ReadClass, node_labels
from autosim.learning.inference.calibration import Calibration, Frequencies, Readings, needed
from autosim.learning.inference.distribution import aligned, inferred, likely, shared_out
from autosim.learning.inference.layouts import Layouts
from autosim.learning.inference.reader import SceneReader
from autosim.learning.inference.structure import Structure, numbers_of
from autosim.learning.label_pictures import label_pictures
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import Annotation
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.scenes.attributes import Attribute
from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Continuous, SceneGraph
from autosim.scenes.parametric import ParametricGenerator

if TYPE_CHECKING:
    from autosim.session import Session

# Part of the cache key: raise it when the code gives another reader for equal frames.
VERSION = 10
# The reader belongs to an environment: all seeds share it, as they share its frames.
SEED = 0
# Share of the frames that calibrate.
HELD_OUT, HELD_OUT_OF_ROUND = 0.1, 0.2
# Of the noise of an estimate, a correction takes this much at most, as a share of the range.
MOST_CORRECTION = 0.1


@dataclass(frozen=True)
class Inferred:
    """What is inferred: parameters by key, of attributes that pictures show; where the structure is learned, that, and
    how the nodes lie whose number varies.
    """

    attributes: dict[str, AttributeSummary]
    structure: Structure | None = None
    layouts: tuple[Layouts, ...] = ()


class DistributionReader:
    """Reads distributions off images, or, where there are ``labels``, off pictures of these annotations. Its network is
    trained on ``broad`` frames of the session's environment, or taken from the cache; it does not depend on the target.
    It sees pictures at an ``edge`` in pixels.
    """

    def __init__(
        self,
        session: Session,
        broad: int,
        schedule: TrainingSchedule,
        even: bool,
        second_looks: bool,
        labels: Mapping[str, Annotation],
        edge: int,
    ) -> None:
        self.session, self.prior, self.labels = session, session.env.prior(), labels
        self.broad = self._drawn_as_read(session.broad_frames(broad, images=not labels))
        schema, declared = session.env.schema, session.pool.annotations
        self.structured = "structure" in self.prior.learnable
        ruled = self.prior.set_by_rules if self.structured else ()
        self.reader = SceneReader(schema, self.broad, declared, edge, SEED, even, second_looks, ruled)
        self.restarts = session.seed_sequence("restarts")

        def compute() -> dict[str, Any]:
            self.reader.train(self.broad, schedule, max(int(HELD_OUT * broad), 10), SEED)
            return self.state_dict()

        description = {
            "version": VERSION, "env": session.env.name, "schedule": asdict(schedule), "frames": broad,
            "even": even, "second_looks": second_looks, "edge": edge,
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "scenes": hashlib.sha256(repr([s.to_json() for s in self.broad.scenes[:16]]).encode()).hexdigest(),
            "pixels": hashlib.sha256(self.broad.frames.images.tobytes()).hexdigest(),
            "annotations": {name: repr(kind) for name, kind in session.pool.annotations.items()},
        }  # fmt: skip
        with session.stage("reader of scenes"):
            self.load_state_dict(cached_tensors("reader", description, compute, clock=session.core_seconds))

    def infer(self, frames: Frames, start: ParametricGenerator, stay: bool = False) -> Inferred:
        """What frames show; ``start`` has the parameters from which the search begins.
        ``stay``: of the ways round that look the same, take that which is nearest to the start.
        """
        images = self._as_read(frames).images
        told = dict[str, Tensor]()
        found = self.reader.readings(images, told)
        before = start.parameters_by_key()
        result: dict[str, AttributeSummary] = {}
        for read in self.reader.read:
            if read.name not in found:
                found = self.reader.readings(images, told)
            keys, calibration = self._slots(read), self.reader.calibrations[read.name]
            result |= inferred(read, found[read.name], calibration, before, keys, self.restarts, stay)
            if read.single:
                if self.labels:
                    result |= self._shared_out(read, result, keys[0])
                values, angles = likely(read, found[read.name], calibration, before | result, keys[0])
                told |= self.reader.told_to_children(read, values, angles)
        attributes = {key: summary for key, summary in result.items() if key in before}
        if not self.structured:
            return Inferred(attributes)
        varied = [read for read in self.reader.read if read.varies]
        layouts = [Layouts.of(read, found[read.name], self.reader.calibrations[read.name]) for read in varied]
        return Inferred(attributes, self._structure(found, result), tuple(layouts))

    def _structure(self, found: Mapping[str, Readings], inferred: Mapping[str, AttributeSummary]) -> Structure:
        """Numbers of nodes by what was ``found``, and what rules set by what was ``inferred``."""
        numbers = {
            read.name: numbers_of(found[read.name].present.sum(axis=1), self.reader.calibrations[read.name].number)
            for read in self.reader.read
            if read.varies
        }
        ruled = {key: inferred[key] for key in self.prior.set_by_rules if key in inferred}
        shares = {
            key: np.array(each.probabilities) for key, each in ruled.items() if isinstance(each, CategoricalSummary)
        }
        return Structure(numbers, shares)

    def _shared_out(
        self, read: ReadClass, found: Mapping[str, AttributeSummary], key: str
    ) -> dict[str, AttributeSummary]:
        """The choices of a single node, shared out among those that the labels of broad frames do not tell apart: much
        of a scene is not in them.
        """
        known = {place: found.get(f"{key}.{each.name}") for place, each in enumerate(read.categorical)}
        choices = {place: each for place, each in known.items() if isinstance(each, CategoricalSummary)}
        # Children are read given their parent, which broad frames would have to be told first.
        if not choices or read.parent:
            return {}
        readings = self.reader.readings(self.broad.frames.images, {})[read.name]
        truth = node_labels(self.session.env.schema, read, self.broad.scenes).choices[:, 0].numpy()
        likelihoods = self.reader.calibrations[read.name].choice_likelihoods(readings)
        return {
            f"{key}.{read.categorical[place].name}": shared_out(summary, likelihoods[place][:, 0], truth[:, place])
            for place, summary in choices.items()
        }

    def refine(self, frames: DrawnFrames, schedule: TrainingSchedule, seed: int) -> float:
        """Train on frames and as many of the broad ones; some of them calibrate. Returns the loss at the end."""
        others = self.broad.select(slice(len(frames)))
        return self.reader.train(
            self._drawn_as_read(frames), schedule, int(HELD_OUT_OF_ROUND * len(frames)), seed, others
        )

    def debiased(self, answer: ParametricGenerator, frames: DrawnFrames) -> dict[str, AttributeSummary]:
        """The answer less the error of the same estimate on ``frames`` of the answer (:func:`less_error`)."""
        known, found = answer.parameters_by_key(), self.infer(frames.frames, answer, stay=True).attributes
        estimate: dict[str, AttributeSummary] = {}
        # Nodes whose number varies lie as they were read.
        for read in (each for each in self.reader.read if not (self.structured and each.varies)):
            estimate |= aligned(found, known, read, self._slots(read))
        attributes = {keyed.key: keyed.attribute for keyed in self.prior.attributes()}
        # What was shared out has no error of its own.
        shared = {key for key, summary in estimate.items() if self.labels and isinstance(summary, CategoricalSummary)}
        corrected = estimate.keys() - shared
        return {key: less_error(attributes[key], known[key], estimate[key]) for key in attributes if key in corrected}

    def around(
        self, answer: ParametricGenerator, factor: float, least: float, count: int, seed: np.random.SeedSequence
    ) -> list[SceneGraph]:
        """Scenes of :meth:`widened`, in which each angle is turned by half a circle every second time: a thing that
        looks much the same then is told apart once the network has seen it both ways from near.
        """
        draws, turns = seed.spawn(2)
        generator = np.random.default_rng(turns)
        scenes = self.widened(answer, factor, least).sample(count, draws).scenes
        return [self._turned(scene, generator) for scene in scenes]

    def _as_read(self, frames: Frames) -> Frames:
        """Frames with what is read as their images."""
        return label_pictures(frames, self.labels) if self.labels else frames

    def _drawn_as_read(self, drawn: DrawnFrames) -> DrawnFrames:
        return replace(drawn, frames=self._as_read(drawn.frames))

    def _turned(self, scene: SceneGraph, generator: np.random.Generator) -> SceneGraph:
        angles = {read.name: read.angles for read in self.reader.read if read.angles}
        nodes = []
        for node in scene.nodes:
            changed = {
                each.name: each.denormalise(each.normalise(float(node[each.name])) + 0.5)
                for each in angles.get(node.node_class, ())
                if generator.random() < 0.5
            }
            nodes.append(replace(node, attributes={**node.attributes, **changed}) if changed else node)
        return replace(scene, nodes=tuple(nodes))

    def widened(self, answer: ParametricGenerator, factor: float, least: float) -> ParametricGenerator:
        """A generator around the answer: spreads times ``factor`` and the noise of readings together, at least a share
        ``least`` of the range, for a network learns to tell apart only what differs by more than it confuses; choices
        half uniform.
        """
        around, known, noise = copy.deepcopy(answer), answer.parameters_by_key(), self._noise()
        parameters: dict[str, AttributeSummary] = {}
        for keyed in self.prior.attributes():
            summary, spec = known[keyed.key], keyed.attribute
            if isinstance(summary, CategoricalSummary):
                half = 0.5 / len(summary.probabilities)
                parameters[keyed.key] = CategoricalSummary(tuple(0.5 * p + half for p in summary.probabilities))
            elif isinstance(spec, Continuous):
                span = spec.high - spec.low
                confused = noise.get(f"{keyed.node_class}.{spec.name}", 0.0)
                spread = max(math.hypot(summary.std * factor / span, confused), least)
                parameters[keyed.key] = ContinuousSummary(summary.mean, min(spread, 0.5) * span)
        around.set_parameters(parameters)
        return around

    def _noise(self) -> dict[str, float]:
        """Standard deviations of readings about the truth, as shares of the range, by ``class.attribute``; only of what
        is seen.
        """
        found: dict[str, float] = {}
        for read in self.reader.read:
            calibration = self.reader.calibrations[read.name]
            for each, noise in zip(read.continuous, calibration.noise / calibration.slope, strict=True):
                key = f"{read.name}.{each.name}"
                if self.reader.explained[key] >= needed(each):
                    found[key] = float(noise)
        return found

    def seen(self) -> dict[str, float]:
        """Shares of variance or entropy that readings explain, by ``class.attribute``; 0 of a choice that they explain
        too little of to be used.
        """
        choices = {f"{read.name}.{each.name}": needed(each) for read in self.reader.read for each in read.categorical}
        return {key: share if share >= choices.get(key, 0.0) else 0.0 for key, share in self.reader.explained.items()}

    def state_dict(self) -> dict[str, Any]:
        """The network and its calibration."""
        calibrations = {
            name: {
                "offset": torch.from_numpy(each.offset), "slope": torch.from_numpy(each.slope),
                "noise": torch.from_numpy(each.noise), "explained": dict(each.explained),
                "angle_frequencies": [torch.from_numpy(part) for part in each.frequencies.angles],
                "choice_frequencies": [torch.from_numpy(part) for part in each.frequencies.choices],
                "angle_temperatures": list(each.angle_temperatures),
                "choice_temperatures": list(each.choice_temperatures),
                "number": torch.from_numpy(each.number),
            }
            for name, each in self.reader.calibrations.items()
        }  # fmt: skip
        weights = {name: value.clone() for name, value in self.reader.network.state_dict().items()}
        looks = {
            name: {key: value.clone() for key, value in look.state_dict().items()}
            for name, look in self.reader.looks.items()
        }
        return {
            "network": weights, "looks": looks, "helpful": dict(self.reader.helpful),
            "calibrations": calibrations, "explained": dict(self.reader.explained),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self.reader.network.load_state_dict(state["network"])
        self.reader.network.eval()
        for name, look in self.reader.looks.items():
            look.load_state_dict(state["looks"][name])
            look.eval()
        self.reader.helpful = dict(state["helpful"])
        self.reader.explained = dict(state["explained"])
        self.reader.calibrations = {
            name: Calibration(
                each["offset"].numpy().copy(), each["slope"].numpy().copy(), each["noise"].numpy().copy(),
                dict(each["explained"]),
                Frequencies(
                    [part.numpy().copy() for part in each["angle_frequencies"]],
                    [part.numpy().copy() for part in each["choice_frequencies"]],
                ),
                list(each["angle_temperatures"]), list(each["choice_temperatures"]), each["number"].numpy().copy(),
            )
            for name, each in state["calibrations"].items()
        }  # fmt: skip

    def _slots(self, read: ReadClass) -> list[str]:
        """Stems of the keys of a class's slots, as the grammar emits them."""
        stems: list[str] = []
        for keyed in self.prior.attributes():
            if keyed.node_class == read.name:
                stem = keyed.key.rpartition(".")[0]
                if stem not in stems:
                    stems.append(stem)
        return stems


def less_error(spec: Attribute, own: AttributeSummary, estimate: AttributeSummary) -> AttributeSummary:
    """``own`` less what an estimate from frames of it is off by: in the mean (a tenth of the range at most), in the
    variance (down to a quarter, up to twice), to which noise adds that is not quite accounted for, in probabilities.
    """
    if isinstance(spec, Continuous) and isinstance(own, ContinuousSummary) and isinstance(estimate, ContinuousSummary):
        off = spec.difference(estimate.mean, own.mean) / (spec.high - spec.low)
        off = float(np.clip(off, -MOST_CORRECTION, MOST_CORRECTION))
        variance = max(2 * own.std**2 - estimate.std**2, own.std**2 / 4)
        return ContinuousSummary(spec.denormalise(spec.normalise(own.mean) - off), math.sqrt(variance))
    assert isinstance(own, CategoricalSummary) and isinstance(estimate, CategoricalSummary)
    moved = np.clip(2 * np.array(own.probabilities) - np.array(estimate.probabilities), 1e-3, None)
    return CategoricalSummary(tuple(float(p) for p in moved / moved.sum()))
