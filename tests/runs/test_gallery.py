"""What a run keeps to show."""

from __future__ import annotations

import numpy as np

from autosim.rendering.frames import Frames
from autosim.runs.gallery import SCENES_SHOWN, Gallery
from autosim.target import Target
from tests.support.helpers import blob_session


def test_the_target_is_shown_with_its_truth_where_that_is_known() -> None:
    session = blob_session()
    validation = session.validation
    labelled, unlabelled = Gallery(), Gallery()
    labelled.add_target(session)
    shown = labelled.frames["target"]
    assert np.array_equal(shown.images, validation.images[:SCENES_SHOWN])
    assert np.array_equal(shown.annotations["mask"], validation.annotations["mask"][:SCENES_SHOWN])
    # Takes the place of what the session has drawn.
    session.__dict__["target"] = Target(Frames(validation.images), None, None)
    unlabelled.add_target(session)
    assert not unlabelled.frames["target"].annotations
