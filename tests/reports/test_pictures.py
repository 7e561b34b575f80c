"""Pictures and report: files of plain data, complete in themselves."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.rendering.annotations import ClassMask
from autosim.rendering.frames import Frames
from autosim.rendering.pool import LocalPool
from autosim.reports.attribute_samples import AttributeSamples
from autosim.reports.pictures import (
    box_image,
    curve_names,
    mask_image,
    most_probable,
    plot_attribute_histograms,
    plot_curves,
    plot_scenes,
)
from autosim.reports.run_page import attribute_section, write_report
from autosim.runs.folder import RunFolder
from autosim.scenes.graph import Categorical, Continuous
from tests.rendering.discs import DISC_SCENES, DiscRenderer


def frames(count: int, masks: bool, height: int = 16, width: int = 16) -> Frames:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return Frames(images, {"mask": rng.integers(0, 12, (count, height, width), dtype=np.uint8)} if masks else {})


MASKS = {"mask": ClassMask(tuple(map(str, range(12))))}


def shape_of(path: Path) -> tuple[int, ...]:
    return tuple(matplotlib.image.imread(path).shape)


def test_scenes_show_a_row_a_stage_and_masks_beside_them(tmp_path: Path) -> None:
    plot_scenes(tmp_path / "plain.png", {"start": frames(4, False), "target": frames(2, False)}, MASKS)
    plot_scenes(tmp_path / "masks.png", {"start": frames(4, True), "target": frames(2, False)}, MASKS)
    plot_scenes(
        tmp_path / "more.png", {"start": frames(4, False), "middle": frames(4, False), "end": frames(4, False)}, MASKS
    )
    plain, masks, more = (shape_of(tmp_path / f"{name}.png") for name in ("plain", "masks", "more"))
    assert masks[1] > 1.7 * plain[1] and masks[0] == plain[0]
    assert more[0] > plain[0] and more[1] == plain[1]
    with pytest.raises(ValueError, match="no frames"):
        plot_scenes(tmp_path / "none.png", {}, MASKS)


def test_masks_paint_equal_classes_alike_and_only_the_background_dark() -> None:
    painted = mask_image(np.array([[[0, 1, 2], [0, 9, 1]]]))
    assert painted.dtype == np.uint8 and painted.shape == (1, 2, 3, 3)
    assert (painted[0, 0, 1] == painted[0, 1, 2]).all() and (painted[0, 0, 0] == painted[0, 1, 0]).all()
    assert not (painted[0, 0, 1] == painted[0, 0, 2]).all()
    assert not (painted[0, 1, 1] == painted[0, 0, 0]).all()


def test_boxes_are_drawn_on_the_images_with_their_outermost_pixels() -> None:
    images = np.full((2, 8, 10, 3), 7, dtype=np.uint8)
    boxes = np.full((2, 3, 5), -1, dtype=np.float32)
    boxes[0, 0] = (1.2, 2.0, 4.0, 6.5, 0)
    boxes[0, 1] = (6, 0, 10, 3, 1)
    painted = box_image(images, boxes)
    expected = np.zeros((8, 10), dtype=bool)
    expected[[2, 6], 1:4] = expected[2:7, [1, 3]] = True
    expected[[0, 2], 6:10] = expected[0:3, [6, 9]] = True
    np.testing.assert_array_equal((painted[0] != 7).any(axis=-1), expected)
    first, second = painted[0, 2, 1], painted[0, 0, 9]
    assert (painted[0, 6, 3] == first).all() and (painted[0, 2, 6] == second).all() and not (first == second).all()
    assert (images == 7).all() and (painted[1] == 7).all()


def test_lines_are_thicker_on_large_pictures() -> None:
    boxes = np.array([[[20, 20, 60, 60, 0]]], dtype=np.float32)
    small, large = (box_image(np.zeros((1, 80, width, 3), dtype=np.uint8), boxes) for width in (100, 300))
    assert (small > 0).any(axis=-1).sum() == 4 * 39 and (large > 0).any(axis=-1).sum() == 4 * 39 + 4 * 37


@given(
    box=st.tuples(*[st.floats(-0.5, 8.5)] * 2, *[st.floats(-0.5, 8.5)] * 2),
)
@example(box=(1.0, 1.0, 1.0, 1.0))
def test_any_box_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    (x0, x1), (y0, y1) = sorted(box[:2]), sorted(box[2:])
    boxes = np.array([[[x0, y0, x1, y1, 0]]], dtype=np.float32)
    assert (box_image(np.zeros((1, 8, 8, 3), dtype=np.uint8), boxes) > 0).any()


def test_scenes_show_what_is_declared_and_given(tmp_path: Path) -> None:
    declared = DiscRenderer.annotations
    with LocalPool(DiscRenderer()) as pool:
        drawn = pool.render(DISC_SCENES, [0, 1, 2])
    plain = Frames(drawn.images)
    plot_scenes(tmp_path / "all.png", {"start": drawn, "target": plain}, declared)
    plot_scenes(tmp_path / "bare.png", {"start": plain, "target": plain}, declared)
    # Images and class mask, with instances and boxes below.
    (height, width), (bare_height, bare_width) = (shape_of(tmp_path / f"{name}.png")[:2] for name in ("all", "bare"))
    assert height == 2 * bare_height and 1.8 < width / bare_width < 2


@pytest.mark.parametrize("with_target", [True, False])
def test_histograms_take_any_attribute(tmp_path: Path, with_target: bool) -> None:
    values = np.linspace(0.0, 1.0, 50)
    attributes = {
        "light.power": AttributeSamples(Continuous("power", 0, 100, "W"), values, values + 40, values + 80),
        "light.constant": AttributeSamples(
            Continuous("constant", 0, 1), values * 0 + 1, values * 0 + 1, values * 0 + 1
        ),
        "light.kind": AttributeSamples(Categorical("kind", ("sun", "sky")), values.round(), values.round(), values * 0),
    }
    if not with_target:
        attributes = {key: AttributeSamples(a.spec, a.start, a.learned, None) for key, a in attributes.items()}
    plot_attribute_histograms(tmp_path / "attributes.png", attributes)
    assert shape_of(tmp_path / "attributes.png")[1] > 500


def test_of_many_choices_the_likeliest_at_any_stage_are_shown_and_the_others_together(tmp_path: Path) -> None:
    choices = tuple(f"room {i} from afar" for i in range(54))
    start, learned = np.arange(54.0), np.r_[np.full(30, 7.0), np.full(20, 3.0), np.arange(40.0, 44.0)]
    names, shares = most_probable(
        choices,
        {stage: np.bincount(v.astype(int), minlength=54) / 54 for stage, v in (("start", start), ("learned", learned))},
        4,
    )
    assert names[:2] == [choices[7], choices[3]] and names[3] == "51 others"
    assert all(values.sum() == pytest.approx(1) for values in shares.values())
    assert shares["learned"][:2] == pytest.approx([30 / 54, 20 / 54])
    few = {"start": np.array([0.5, 0.5])}
    assert most_probable(choices[:2], few, 4)[0] == list(choices[:2])
    cell = AttributeSamples(Categorical("cell", choices), start, learned, None)
    plot_attribute_histograms(tmp_path / "attributes.png", {"scene.cell": cell})
    # Wide enough for its legend.
    assert shape_of(tmp_path / "attributes.png")[1] > 480


def test_curves_leave_out_times_counts_and_what_is_unknown(tmp_path: Path) -> None:
    metrics: list[dict[str, Any]] = [
        {"iteration": i, "seconds": i, "images": i, "render_seconds": 1.0, "val_score": None, "loss": 1 / (i + 1),
         "name": "x", "late": i if i > 1 else None}
        for i in range(4)
    ]  # fmt: skip
    assert curve_names(metrics) == ["loss", "late"]
    plot_curves(tmp_path / "curves.png", metrics)
    plot_curves(tmp_path / "none.png", [{"iteration": 0, "val_score": None}])
    assert shape_of(tmp_path / "curves.png")[1] > shape_of(tmp_path / "none.png")[1]


class Tags(HTMLParser):
    """Every tag with its attributes; whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


SUMMARY = {
    "algo": "walk", "env": "spot <3", "seed": 0, "iterations": 2, "images": 1234, "seconds": 1.5, "score_name": "IoU",
    "prior_score": 0.1, "test_score": None, "oracle_score": 0.9, "gap_closed": 0.5, "date": "today", "note": "a & b",
    "attributes": {
        "spot.x": {"recovered": 0.75, **{p: {"mean": 1.0, "std": 0.5} for p in ("start", "learned", "target")}},
        "spot.kind": {"recovered": None, "start": {"probabilities": [0.25, 0.75]}},
    },
}  # fmt: skip


def test_a_report_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_summary(SUMMARY)
    plot_scenes(folder.pictures / "scenes.png", {"start": frames(2, True)}, MASKS)
    page = write_report(folder.path, folder.read_summary()).read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(page)
    assert not parser.open
    names = [tag for tag, _ in parser.tags]
    assert "script" not in names and "link" not in names
    sources = [str(attributes["src"]) for tag, attributes in parser.tags if tag == "img"]
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,")
    assert not re.search(r"https?://|url\(|@import", page)
    for part in ("walk on spot &lt;3", "a &amp; b", "1,234", "0.900", "50 %", "75 %", "1 ± 0.5", "25 / 75 %"):
        assert part in page


def test_a_report_needs_a_summary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"summary\.json"):
        write_report(tmp_path, RunFolder(tmp_path).read_summary())


def test_of_many_choices_the_table_tells_the_largest_share() -> None:
    few, many = {"probabilities": [0.25, 0.75]}, {"probabilities": [0.5, *[0.01] * 50]}
    entries = {"few": {"start": few, "learned": few}, "many": {"start": many, "learned": many}}
    (section,) = attribute_section(entries)
    assert section.table is not None
    assert [line[1] for line in section.table.lines] == ["25 / 75 %", "50 % for one of 51"]


def test_a_report_without_attributes_has_no_table() -> None:
    assert attribute_section({}) == []
