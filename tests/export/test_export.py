"""Exports of a toy generator: every format reads back, whatever was stopped, and mistakes are one line."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autosim.api import make_env
from autosim.cli.run_options import configure
from autosim.errors import UserError
from autosim.export import export as module
from autosim.export import staging
from autosim.export.beside import write_generator
from autosim.export.export import export
from autosim.export.settings import ExportSettings
from autosim.export.writers import EXPORTERS
from autosim.formats.dataset import DataSet, DepthFile
from autosim.formats.guess import READERS, guess_format, read_data_set
from autosim.rendering.annotations import Boxes, Depth
from autosim.rendering.pool import LocalPool
from autosim.runs.folder import RunFolder, locked
from autosim.scenes.graph import SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from tests.scenes.examples import digits

COUNT = 8


@pytest.fixture(autouse=True)
def small_batches(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy package; three images in a batch."""
    for place in (staging, module):
        monkeypatch.setattr(place, "BATCH", 3)
    Path("run").mkdir()
    Path("run/checkpoint.pt").write_bytes(b"learned")
    yield


def write(out: str, **options: Any) -> Path:
    settings = ExportSettings(**{"count": COUNT, "split": 0.25, **options})
    generator = ParametricGenerator(make_env("spot").prior())
    console = Console(file=io.StringIO())
    return export(configure("walk", "spot", {}), RunFolder(Path("run")), settings, Path(out), console, 0, generator)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def boxes(data: DataSet) -> list[tuple[str, list[list[float]]]]:
    return [(image.name[-6:], image.boxes.tolist()) for image in data.images]


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_format_reads_back_as_it_was_written(name: str) -> None:
    folder = write("a", format=name)
    assert guess_format(folder if name != "kitti" else folder / "train").name == name
    train, val = (read_data_set(folder, name, part) for part in ("train", "val"))
    assert (len(train), len(val)) == (6, 2) and set(train.classes) <= {"disc", "obj_000001"}
    shapes = [image.read().shape for image in [*train.images, *val.images]]
    assert shapes == [(16, 16, 3)] * COUNT
    if name != "masks":
        assert boxes(train) == boxes(read_data_set(write("b"), "coco", "train"))
    assert {"README.md", "generator.json", "scenes.jsonl", "run.yaml", "samples.png", "export.json"} <= set(
        content(folder)
    )
    assert len((folder / "scenes.jsonl").read_text().splitlines()) == COUNT
    assert "6 images in train, 2 images in val, of 16×16 pixels" in (folder / "README.md").read_text()
    assert set(json.loads((folder / "generator.json").read_text())) == {"spot.x", "spot.y"}


def test_the_generators_file_tells_numbers_where_these_are_learned(tmp_path: Path) -> None:
    grammar = digits()
    write_generator(tmp_path, ParametricGenerator(grammar), grammar)
    found = json.loads((tmp_path / "generator.json").read_text())
    assert {"digit.x", "digit.label", "number of digit"} <= set(found)
    numbers = found["number of digit"]["probabilities"]
    # One digit more is three times as likely as an end.
    assert sum(numbers) == pytest.approx(1.0) and numbers[0] == pytest.approx(0.25, abs=0.05)


def test_pycocotools_reads_what_is_exported() -> None:
    from pycocotools.coco import COCO

    coco = COCO(str(write("a") / "annotations" / "instances_train.json"))
    found = coco.loadAnns(coco.getAnnIds())
    assert len(coco.imgs) == 6 and {coco.cats[entry["category_id"]]["name"] for entry in found} == {"disc"}
    for entry in found:
        mask = coco.annToMask(entry)
        x, y, width, height = (int(value) for value in entry["bbox"])
        assert mask.sum() == entry["area"] == mask[y : y + height, x : x + width].sum()


def test_outlines_for_yolo_hold_the_pixels_of_each_object() -> None:
    outlines = read_data_set(write("a", format="yolo-seg"), "yolo", "train")
    runs = read_data_set(write("b", format="coco"), "coco", "train")
    assert guess_format(Path("a")).name == "yolo" and boxes(outlines) == boxes(runs)
    for image, original in zip(outlines.images, runs.images, strict=True):
        mask, expected = image.shape_mask(0), original.shape_mask(0)
        assert mask is not None and expected is not None and expected.any() and (mask == expected).all()


def test_outlines_are_refused_where_only_boxes_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_sim.spot.SpotRenderer.annotations", {"boxes": Boxes(("disc",), 1)})
    with pytest.raises(UserError, match=r"^--format: yolo-seg: .* declares boxes, but no instance mask"):
        write("a", format="yolo-seg")


def test_depth_is_exported_where_a_layout_has_a_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer_class: Any = type(make_env("spot").renderer())
    declared, annotate = renderer_class.annotations, renderer_class.annotate

    def with_depth(renderer: Any, scene: SceneGraph) -> dict[str, Any]:
        distance = renderer._distance(scene)
        return {**annotate(renderer, scene), "depth": np.where(distance > 9, 0, 2.5 + distance).astype(np.float32)}

    monkeypatch.setattr(renderer_class, "annotations", {**declared, "depth": Depth()})
    monkeypatch.setattr(renderer_class, "annotate", with_depth)
    scenes = [
        SceneGraph.from_json(json.loads(line))
        for line in (write("a", format="webdataset") / "scenes.jsonl").read_text().splitlines()
    ]
    expected = [with_depth(make_env("spot").renderer(), scene)["depth"] for scene in scenes]
    with tarfile.open("a/train-000000.tar") as archive:
        stored = [archive.extractfile(member) for member in archive if member.name.endswith(".depth.npy")]
        exact = [np.load(io.BytesIO(file.read())) for file in stored if file is not None]
    assert len(exact) == 6 and all((one == other).all() for one, other in zip(exact, expected, strict=False))
    assert "Annotations that" not in Path("a/README.md").read_text()

    lines = (write("b", format="imagefolder") / "train" / "metadata.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    files = [DepthFile(Path("b/train") / entry["depth_file_name"], entry["depth_scale"]) for entry in entries]
    bop = read_data_set(write("c", format="bop"), "bop", "train")
    again = Path("again")
    EXPORTERS["bop"](bop, again, "train")
    for found in (
        [file.read(16, 16) for file in files],
        [image.read_depth() for image in bop.images],
        [image.read_depth() for image in read_data_set(again, "bop", "train").images],
    ):
        for depth, truth in zip(found, expected, strict=False):
            assert depth is not None and depth.dtype == np.float32 and ((depth > 0) == (truth > 0)).all()
            assert np.abs(depth - truth).max() <= 0.51 * truth.max() / 65535
    assert len(files) == len(bop) == 6
    assert "has no place for: depth" in (write("d", format="coco") / "README.md").read_text()


def test_shards_and_image_folders_hold_the_same_images_and_objects() -> None:
    shards, folder = write("a", format="webdataset"), write("b", format="imagefolder")
    members: dict[str, dict[str, bytes]] = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, ending = member.name.partition(".")
                stored = archive.extractfile(member)
                assert stored is not None and member.mtime == 0
                members.setdefault(key, {})[ending] = stored.read()
    lines = {}
    for part in ("train", "val"):
        for line in (folder / part / "metadata.jsonl").read_text().splitlines():
            entry = json.loads(line)
            assert (folder / part / entry.pop("mask_file_name")).is_file()
            name = entry.pop("file_name")
            lines[Path(name).stem] = (folder / part / name).read_bytes(), entry
    assert sorted(path.name for path in shards.glob("*.tar")) == ["train-000000.tar", "val-000000.tar"]
    assert {key: (files["png"], json.loads(files["json"])) for key, files in members.items()} == lines
    assert len(lines) == COUNT and all(set(files) == {"png", "json", "mask.png"} for files in members.values())


@pytest.mark.parametrize("stopped", ["drawing", "writing"])
def test_an_export_that_was_stopped_goes_on_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch, stopped: str) -> None:
    whole = content(write("whole", format="yolo"))
    monkeypatch.setattr(module, "PASS_SECONDS", 0)  # a batch at a time
    drawn: list[int] = []
    original = LocalPool.render

    def render(pool: LocalPool, scenes: Any, seeds: Any) -> Any:
        drawn.append(len(scenes))
        if stopped == "drawing" and len(drawn) == 2:
            raise KeyboardInterrupt
        return original(pool, scenes, seeds)

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalPool, "render", render)
    with monkeypatch.context() as patch:
        if stopped == "writing":
            patch.setattr(module, "write_sheet", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write("a", format="yolo")
    with pytest.raises(UserError, match="--count: 9 is not what the export was begun with, 8"):
        write("a", format="yolo", count=9)
    # A picture that was cut short: its batch is drawn again.
    (picture,) = Path("a").rglob(".unfinished/frames/000001.png")
    picture.write_bytes(picture.read_bytes()[:20])
    write("a", format="yolo")
    assert content(Path("a")) == whole
    assert drawn == ([3, 3, 3, 3, 2] if stopped == "drawing" else [3, 3, 2, 3])
    drawn.clear()
    write("a", format="yolo")
    assert not drawn and content(Path("a")) == whole


def test_fewer_images_are_the_first_of_more_and_another_seed_gives_others() -> None:
    few, more, other = (
        content(write(name, **options))
        for name, options in (
            ("a", {"count": 4, "split": 0}),
            ("b", {"split": 0}),
            ("c", {"count": 4, "split": 0, "seed": 1}),
        )
    )
    pictures = [f"images/{number:06d}.png" for number in range(4)]
    assert [few[name] for name in pictures] == [more[name] for name in pictures]
    assert all(few[name] != other[name] for name in pictures) and "images/000004.png" not in few


def test_mistakes_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("full").mkdir()
    Path("full/mine").write_text("kept")
    with pytest.raises(UserError, match="output folder full is in use"):
        write("full")
    with pytest.raises(UserError, match="--size: environment 'spot': SpotRenderer: draws pictures of 16×16"):
        write("a", size="32")
    with pytest.raises(ValueError, match=r"^size: '4by3' is neither"):
        ExportSettings(size="4by3")
    with locked(Path("full")), pytest.raises(UserError, match=r"^--out full: another process"):
        Path("full/.unfinished").mkdir()
        write("full")
    Path("full/.unfinished").rmdir()
    Path("run/checkpoint.pt").unlink()
    with pytest.raises(UserError, match="run folder run: it holds no checkpoint"):
        write("a")
    Path("run/checkpoint.pt").write_bytes(b"learned")
    monkeypatch.delattr("toy_sim.spot.SpotRenderer.instances")
    with pytest.raises(UserError, match="cannot tell objects apart; allowed are masks"):
        write("a", format="voc")
    assert not Path("a").exists() and Path("full/mine").read_text() == "kept"
    assert len(read_data_set(write("a", format="masks", split=0), "masks")) == COUNT


def test_sizes_and_parts_follow_from_the_settings() -> None:
    assert ExportSettings().shape(48, 64) == (48, 64)
    assert ExportSettings(size="128").shape(48, 64) == (96, 128)
    assert ExportSettings(size="320x240").shape(64, 64) == (240, 320)
    assert ExportSettings(count=10, split=0.01).parts() == {"train": range(9), "val": range(9, 10)}
    assert ExportSettings(count=1).parts() == {None: range(1)}
    assert set(EXPORTERS) == {*READERS, "webdataset", "imagefolder", "yolo-seg"}
