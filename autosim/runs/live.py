"""Pictures and report of a run: the first while it is set up, renewed while it goes on, the last at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from autosim.runs.closing.scores import Scores
from autosim.runs.summary import summarise_run
from autosim.scenes.generator import GrammarSource

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.runs.config import RunConfig
    from autosim.runs.folder import RunFolder
    from autosim.runs.gallery import Gallery
    from autosim.runs.iterations import Tally
    from autosim.session import Session

# Seconds of a run before which there is no report of it, and the least between two: it is over before one looks.
EARLIEST, LEAST = 2.0, 20.0
# How many times as long as it took to write one the next is put off: so it costs 2 % of a run at most.
PUT_OFF = 50.0


class LiveReport:
    """The report of a run that is going on."""

    def __init__(self, config: RunConfig, env: Env, folder: RunFolder, gallery: Gallery, command: str) -> None:
        self._config, self._env, self._folder, self._gallery = config, env, folder, gallery
        self._command = command
        self._notes: Sequence[str] = ()
        self._due = time.monotonic() + EARLIEST

    def first(self, session: Session, tally: Tally, notes: Sequence[str]) -> None:
        """The environment's prior beside the target, before what takes longest of set-up."""
        self._notes = notes
        if time.monotonic() < self._due:
            return
        with session.stage("first pictures"):
            self._gallery.show(session, GrammarSource(self._env.prior()), "start")
            self.renew(tally)
            self._due = 0.0

    def renew(self, tally: Tally) -> None:
        """Write pictures and report as of now, where that is due. What fails is left to the end of the run."""
        began = time.monotonic()
        if began < self._due:
            return
        done = (
            f"{tally.iterations} of at most {self._config.iterations} iterations" if tally.iterations else "in set-up"
        )
        scores = Scores(note=f"the run goes on ({done}): this page is renewed now and then, load it again")
        summary = summarise_run(self._config, self._env, asdict(tally), scores, {}, {}, self._command, self._notes)
        summary["verdict"] = []
        with suppress(OSError):  # a full disk, say
            write_evidence(self._folder, self._env, self._gallery, {}, summary, scores)
        self._due = time.monotonic() + max(LEAST, PUT_OFF * (time.monotonic() - began))


def write_evidence(
    folder: RunFolder, env: Env, gallery: Gallery, recoveries: dict[str, Any], summary: dict[str, Any], scores: Scores
) -> None:
    """Pictures and report of a run."""
    from autosim.reports.attribute_samples import attribute_samples
    from autosim.reports.found import plot_found
    from autosim.reports.pictures import plot_attribute_histograms, plot_curves, plot_scenes, write_strips
    from autosim.reports.run_page import write_report

    if gallery.frames:
        plot_scenes(folder.pictures / "scenes.png", gallery.frames, env.renderer().annotations)
        write_strips(folder.pictures, gallery.frames)
    if scores.shown is not None:
        plot_found(folder.pictures / "found.png", *scores.shown)
    if "start" in gallery.scenes and "end" in gallery.scenes:
        target = gallery.scenes.get("target")
        samples = attribute_samples(env.schema, gallery.scenes["start"], gallery.scenes["end"], target, recoveries)
        plot_attribute_histograms(folder.pictures / "attributes.png", samples)
    metrics = folder.read_metrics()
    if metrics:
        plot_curves(folder.pictures / "curves.png", metrics)
    write_report(folder.path, summary)
