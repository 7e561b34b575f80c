"""PNG pictures of a run: scenes as learning went on, attributes against start and target, curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import write_whole
from autosim.rendering.annotations import Annotation, Boxes, ClassMask, InstanceMask
from autosim.rendering.frames import Frames
from autosim.reports.attribute_samples import AttributeSamples
from autosim.reports.formatting import is_number
from autosim.scenes.graph import Continuous

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One colour a stage, the same in every picture and in the report, and distinct with the common colour blindnesses.
COLOURS = {"start": "#b3651d", "learned": "#1f5fa8", "target": "#2e8b6f"}
INK, FAINT = "#24292f", "#d0d7de"
STAGES = ("start", "middle", "end", "target")
STAGE_COLOURS = {"start": COLOURS["start"], "middle": "#5b6770", "end": COLOURS["learned"], "target": COLOURS["target"]}
# Background first, then classes or instances; more of them begin again after the background.
MASK_COLOURS = ("#1b1f24", "#e0a030", "#4f8fd6", "#c8553d", "#6aab5c", "#9a6fb0", "#4db6ac", "#d88fb4", "#a1887f")
DOTS_PER_INCH = 120
MOST_CURVES = 16
# Characters of choices that fit below an axis; where there are more, the bars lie, and are so many at most.
FITTING, MOST_BARS = 32, 10
# Pixels of a picture's width for each pixel of a line on it.
LINE = 128
# Least width of a figure in inches, for its legend, and that of rows of images.
LEAST_WIDTH, WIDTH = 4.2, 13.0


def plot_scenes(path: Path, frames: Mapping[str, Frames], declared: Mapping[str, Annotation]) -> None:
    """A row of images for each stage (``start``, ``middle``, ``end``, ``target``), beside and below them the masks and
    the boxes among the ``declared`` annotations that frames have. Columns are the same scenes, but for the target's,
    which are its own. ``path`` is a PNG file.
    """
    stages = [stage for stage in STAGES if stage in frames and len(frames[stage])]
    if not stages:
        raise ValueError("no frames to show")
    known = [
        (name, kind)
        for name, kind in declared.items()
        if isinstance(kind, (ClassMask, InstanceMask, Boxes))
        and any(name in frames[stage].annotations for stage in stages)
    ]
    parts = ["images", *(name for name, _ in known)]
    montages = [montage([frames[stage].images for stage in stages])]
    montages += [montage([_pixels(frames[stage], name, kind) for stage in stages]) for name, kind in known]
    height, width = montages[0].shape[:2]
    inches = 1.1 * max(len(frames[stage]) for stage in stages)
    columns, rows = min(2, len(parts)), -(-len(parts) // 2)
    size = ((inches + 0.2) * columns + 0.3, (inches * height / width + 0.5) * rows)
    figure = _figure(*size, layout="constrained")
    for i, (part, pixels) in enumerate(zip(parts, montages, strict=True)):
        axis = figure.add_subplot(rows, columns, i + 1)
        axis.imshow(pixels, interpolation="antialiased")
        axis.set_title(part, fontsize=10, color=INK)
        axis.set(xticks=[], yticks=[], frame_on=False)
        if part == "images":
            _label_rows(axis, height, stages, [STAGE_COLOURS[stage] for stage in stages])
    _save(figure, path)


def save_rows(path: Path, pixels: NDArray[np.uint8], names: Sequence[str], colours: Sequence[str]) -> None:
    """A :func:`montage`, with a name in a colour of its own beside each row. A PNG file."""
    height, width = pixels.shape[:2]
    # Large enough for every pixel.
    inches = max(WIDTH, 1.04 * width / DOTS_PER_INCH)
    figure = _figure(inches, inches * height / width + 0.2, layout="constrained")
    axis = figure.add_subplot()
    axis.imshow(pixels, interpolation="antialiased")
    axis.set(xticks=[], frame_on=False)
    _label_rows(axis, height, names, colours)
    _save(figure, path)


def _label_rows(axis: Axes, height: int, names: Sequence[str], colours: Sequence[str]) -> None:
    axis.set_yticks((np.arange(len(names)) + 0.5) * height / len(names), names, rotation=90, va="center")
    axis.tick_params(length=0, labelsize=10)
    for label, colour in zip(axis.get_yticklabels(), colours, strict=True):
        label.set(color=colour, fontweight="bold")


def write_strips(folder: Path, frames: Mapping[str, Frames]) -> None:
    """``start.png``, ``end.png``, …: a stage's images in a row, pixel for pixel, for pages that show several runs."""
    from PIL import Image

    for stage, shown in frames.items():
        if len(shown):
            content = io.BytesIO()
            Image.fromarray(montage([shown.images])).save(content, format="png")
            write_whole(folder / f"{stage}.png", content.getvalue())


def montage(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows of images, each (n, H, W, 3), as one image with white gaps; later rows take the first row's H and W."""
    height, width = rows[0].shape[1:3]
    gap = max(1, height // 16)
    canvas = np.full((len(rows), max(map(len, rows)), height + gap, width + gap, 3), 255, dtype=np.uint8)
    for line, images in zip(canvas, rows, strict=True):
        down = np.arange(height) * images.shape[1] // height
        across = np.arange(width) * images.shape[2] // width
        line[: len(images), gap // 2 : gap // 2 + height, gap // 2 : gap // 2 + width] = images[:, down][:, :, across]
    joined: NDArray[np.uint8] = canvas.transpose(0, 2, 1, 3, 4).reshape(len(rows) * (height + gap), -1, 3)
    return joined


def mask_image(masks: NDArray[Any]) -> NDArray[np.uint8]:
    """Masks of classes or instances, integers (n, H, W), as colours (n, H, W, 3); 0 is the background."""
    colours = _rgb(MASK_COLOURS)
    classes = np.asarray(masks).astype(np.int64)
    painted: NDArray[np.uint8] = colours[np.where(classes > 0, 1 + (classes - 1) % (len(MASK_COLOURS) - 1), 0)]
    return painted


def box_image(
    images: NDArray[np.uint8], boxes: NDArray[np.float32], colours: Sequence[str] = MASK_COLOURS[1:]
) -> NDArray[np.uint8]:
    """Images (n, H, W, 3) with their boxes (n, most, 5) drawn on them in the colour of the class. Lines are one
    pixel wide, or more where pictures are large; their outermost pixels are those that the box covers a part of.
    """
    painted, palette = images.copy(), _rgb(colours)
    last_row, last_column = images.shape[1] - 1, images.shape[2] - 1
    for image, rows in zip(painted, boxes, strict=True):
        used = rows[rows[:, 4] >= 0]
        for (x0, y0, x1, y1), colour in zip(used[:, :4], palette[used[:, 4].astype(int) % len(palette)], strict=True):
            left, right = (int(np.clip(edge, 0, last_column)) for edge in (np.floor(x0), np.ceil(x1) - 1))
            top, bottom = (int(np.clip(edge, 0, last_row)) for edge in (np.floor(y0), np.ceil(y1) - 1))
            # A box without an area covers a part of no pixel; it is drawn as one.
            right, bottom = max(left, right), max(top, bottom)
            for _ in range(max(1, images.shape[2] // LINE)):
                image[[top, bottom], left : right + 1] = colour
                image[top : bottom + 1, [left, right]] = colour
                left, top = min(left + 1, right), min(top + 1, bottom)
                right, bottom = max(right - 1, left), max(bottom - 1, top)
    return painted


def _rgb(colours: Sequence[str]) -> NDArray[np.uint8]:
    """(n, 3) of colours as "#rrggbb"."""
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], dtype=np.uint8)


def plot_attribute_histograms(path: Path, attributes: Mapping[str, AttributeSamples]) -> None:
    """A histogram of each attribute: start (outline), learned and, where known, target (filled). A PNG file."""
    panels = _panels(len(attributes), height=1.9)
    for axis, (key, samples) in zip(panels.axes, attributes.items(), strict=False):
        if isinstance(samples.spec, Continuous):
            _continuous_histogram(axis, samples, samples.spec)
            axis.set_yticks([])
        else:
            _category_bars(axis, samples)
        axis.set_title(key, fontsize=9, color=INK, loc="left")
        axis.spines["left"].set_visible(False)
    stages = [stage for stage in COLOURS if stage != "target" or any(s.target is not None for s in attributes.values())]
    _legend(panels, stages)
    _save(panels, path)


def plot_curves(path: Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """``val_score`` and the method's own figures over iterations, a panel each; times and counts are left out."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    names = curve_names(metrics)
    figure = _panels(len(names), height=1.9)
    for axis, name in zip(figure.axes, names, strict=False):
        points = [(line["iteration"] + 1, line[name]) for line in metrics if line.get(name) is not None]
        xs, ys = np.array(points, dtype=float).T
        axis.plot(xs, ys, color=COLOURS["learned"], linewidth=1.3, marker="o" if len(xs) < 3 else "", markersize=3)
        axis.set_title(name.replace("_", " "), fontsize=9, color=INK, loc="left")
        axis.set_xlabel("iteration", fontsize=8, color=INK)
        axis.grid(axis="y", color=FAINT, linewidth=0.5)
        # Around a single point the locator finds no whole numbers.
        axis.xaxis.set_major_locator(FixedLocator(xs) if len(xs) == 1 else MaxNLocator(integer=True))
    _save(figure, path)


def curve_names(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Figures worth a curve, ``val_score`` first, at most 16."""
    left_out = {"iteration", "seconds", "core_seconds", "images", "render_cost", "val_score"}
    names = dict.fromkeys(name for line in metrics for name in line if name not in left_out)
    numeric = [name for name in ("val_score", *names) if any(is_number(line.get(name)) for line in metrics)]
    return [name for name in numeric if not name.endswith("_seconds")][:MOST_CURVES]


def _continuous_histogram(axis: Axes, samples: AttributeSamples, spec: Continuous) -> None:
    stages = {"target": samples.target, "learned": samples.learned, "start": samples.start}
    known = {stage: values for stage, values in stages.items() if values is not None and len(values)}
    everything = np.concatenate(list(known.values()))
    margin = 0.05 * max(float(np.ptp(everything)), 0.02 * (spec.high - spec.low))
    low, high = max(float(everything.min()) - margin, spec.low), min(float(everything.max()) + margin, spec.high)
    for stage, values in known.items():
        outline = stage == "start"
        axis.hist(
            values,
            bins=40,
            range=(low, high),
            # Shares, not densities: a narrow peak would press the others flat.
            weights=np.full(len(values), 1 / len(values)),
            histtype="step" if outline else "stepfilled",
            color=COLOURS[stage],
            linewidth=1.4,
            alpha=1.0 if outline else 0.55,
        )
    axis.set_xlim(low, high)
    if spec.unit:
        axis.set_xlabel(spec.unit, fontsize=8, color=INK)


def _category_bars(axis: Axes, samples: AttributeSamples) -> None:
    assert not isinstance(samples.spec, Continuous)
    choices = [str(choice) for choice in samples.spec.choices]
    stages = {"start": samples.start, "learned": samples.learned, "target": samples.target}
    known = {stage: values for stage, values in stages.items() if values is not None and len(values)}
    shares = {
        stage: np.bincount(values.astype(int), minlength=len(choices)) / len(values) for stage, values in known.items()
    }
    if lying := sum(map(len, choices)) > FITTING:
        choices, shares = most_probable(choices, shares, MOST_BARS)
    width = 0.8 / len(shares)
    for i, (stage, heights) in enumerate(shares.items()):
        places = np.arange(len(choices)) + (i - (len(shares) - 1) / 2) * width
        outline = stage == "start"
        look: dict[str, Any] = {
            "facecolor": "none" if outline else COLOURS[stage],
            "edgecolor": COLOURS[stage],
            "alpha": 1.0 if outline else 0.7,
        }
        if lying:
            axis.barh(places, heights, width * 0.9, **look)
        else:
            axis.bar(places, heights, width * 0.9, **look)
    if lying:
        axis.set_yticks(range(len(choices)), choices, fontsize=6)
        axis.invert_yaxis()
        axis.set_xlim(left=0)
    else:
        axis.set_xticks(range(len(choices)), choices)
        axis.set_yticks([])
        axis.set_ylim(0, 1.02)


def most_probable(
    choices: Sequence[str], shares: Mapping[str, NDArray[np.float64]], most: int
) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """At most ``most`` choices with their shares at each stage: those that have the largest share at any, the largest
    first, and one for all the others together where there are any.
    """
    if len(choices) <= most:
        return list(choices), dict(shares)
    largest = np.max(list(shares.values()), axis=0)
    order = np.argsort(-largest, kind="stable")
    shown, rest = order[: most - 1], order[most - 1 :]
    found = {stage: np.append(values[shown], values[rest].sum()) for stage, values in shares.items()}
    return [*(choices[i] for i in shown), f"{len(rest)} others"], found


def _panels(count: int, height: float) -> Figure:
    """A figure with ``count`` axes in rows of at most four."""
    columns = max(1, min(4, count))
    rows = max(1, -(-count // columns))
    figure = _figure(max(2.6 * columns, LEAST_WIDTH), height * rows + 0.4, layout="constrained")
    for i in range(max(1, count)):
        axis = figure.add_subplot(rows, columns, i + 1)
        axis.tick_params(labelsize=8, colors=INK, length=3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axis.spines[side].set_color(FAINT)
        if count == 0:
            axis.axis("off")
            axis.text(0.5, 0.5, "nothing to show", ha="center", va="center", color=INK)
    return figure


def _legend(figure: Figure, stages: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    faces = {stage: "none" if stage == "start" else COLOURS[stage] for stage in stages}
    handles = [Patch(facecolor=faces[s], edgecolor=COLOURS[s], label=s, alpha=0.8) for s in stages]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(stages), frameon=False, fontsize=9)


def _figure(width: float, height: float, **options: Any) -> Figure:
    # Figures are made without pyplot: nothing global, no window, the Agg canvas when saved.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white", **options)


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_whole(path, content.getvalue())


def _pixels(frames: Frames, name: str, kind: Annotation) -> NDArray[np.uint8]:
    """An annotation as colours (n, H, W, 3); no images where the frames do not have it."""
    if name not in frames.annotations:
        return frames.images[:0]
    values: NDArray[Any] = frames.annotations[name]
    return box_image(frames.images, values) if isinstance(kind, Boxes) else mask_image(values)
