"""Hostile inputs on the command line: numbers, configurations, paths and messages."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path

from benchmarks.robustness.attempts import RUN, WRONG, Input, command, refused

NUMBERS = ("nan", "inf", "-inf", "1e308", "-1e308", "1e400")


def numbers(draw: random.Random) -> Iterator[Input]:
    """Options that are numbers, with what is none or is of no use."""
    from autosim import registry
    from autosim.cli.run_options import run_options

    pairs = [("random", "mnist"), ("metasim", "clevr"), ("lts", "aerial"), ("autosimulate", "multimnist")]
    options: dict[tuple[str, str], list[str]] = {}
    for algo, env in pairs:
        known = run_options(registry.find_algorithm(algo), registry.find_environment(env))
        options[algo, env] = [option.key for option in known if option.hint in (int, float, int | None, float | None)]
    for _ in range(140):
        algo, env = draw.choice(pairs)
        option = f"--{draw.choice(options[algo, env])}={draw.choice(NUMBERS)}"
        arguments = ["run", f"--algo={algo}", f"--env={env}", "--workers=0", option]
        yield Input("numbers", " ".join(arguments), partial(command, *arguments))


def configurations(folder: Path, draw: random.Random) -> Iterator[Input]:
    """YAML files with a value of another kind, and texts that are no YAML or stand for far more than they hold."""
    import yaml

    from autosim.cli.run_options import parse_run

    good = parse_run(RUN[1:]).config.to_dict()
    keys = [key for key in good if key not in ("algo", "env", "feature_weights", "device")]
    for number in range(50):
        key = draw.choice(keys)
        # What may be left out, or is of the option's own kind, is no mistake.
        value = draw.choice([wrong for wrong in WRONG if wrong not in (None, {}, True, "")])
        path = folder / f"config-{number}.yaml"
        path.write_text(yaml.safe_dump({**good, key: value}, allow_unicode=True), encoding="utf-8")
        fine = type(value) in (int, float) and isinstance(good[key], (int, float))
        yield Input("configurations", f"{key}: {value!r:.40}", partial(command, "run", f"--config={path}", fine=fine))
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    merges = "a: &a {x: 1}\n" + "".join(
        f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    texts = [
        bomb, merges, "&a [*a]", "a: &a {b: *a}", "[" * 5000, "{" * 5000, "a: " * 5000, "\t", "%YAML 9", "--- a\n--- b",
        "", "null", "1", "[]", "!!python/object/apply:os.getcwd []", "!!binary x", "!!timestamp x", "!!int ''",
        "!!float ''", "!!bool x", "!!set x",
        "seed: !!int '9" + "9" * 6000 + "'", "seed: " + "9" * 6000, "algo: " + "x" * 10**6,
        "x" * 10**6, "\x00", "\x1b]0;a\x07: 1", "? {a: 1}\n: 2", "seed: 1\nseed: [", "algo: {name: [1]}",
        "env: {name: {}}", "budget: [1]", "budget: {images: {}}", "ray: 7",
        "target: {folder: 1, folder: 2}", "render: {method: {a: b}}",
        "- " * 3000, "a: !!omap [1]", "<<: 1", "<<: [1]",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        path = folder / f"text-{number}.yaml"
        path.write_bytes(text.encode())
        yield Input("configurations", repr(text[:40]), partial(command, "run", f"--config={path}"))
    big = folder / "big.yaml"
    with big.open("wb") as file:
        file.truncate(10**10)
    yield Input("configurations", "10 GB of zeros", partial(command, "run", f"--config={big}"))


def paths(folder: Path) -> Iterator[Input]:
    """Paths to what is no regular file, or is none at all, wherever a path is given."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "config.yaml")
    os.mkfifo(folder / "pipes" / "summary.json")
    pictures = folder / "pictures"
    pictures.mkdir()
    os.mkfifo(pictures / "a.png")
    ill = ["pipe", "loop", "pipes", "nowhere", "a\0b", "n" * 300, "x/" * 3000, "\x1b[2J", "/dev/zero", "/dev/stdin", ""]
    for name in ill:
        path = name if name.startswith("/dev") or not name else str(folder / name)
        uses = {
            "run --config": ["run", f"--config={path}"],
            "run --resume": ["run", f"--resume={path}"],
            "report": ["report", path],
            "tune --resume": ["tune", f"--resume={path}"],
            "run --feature_weights": [*RUN, "--features=squeezenet", f"--feature_weights={path}"],
            "run --target": [*RUN, f"--target={path}", f"--out={folder / 'out'}"],
        }
        for use, arguments in uses.items():
            yield Input("paths", f"{use} {name[:30]!r}", partial(command, *arguments))
    yield Input("paths", "a pipe as a picture", partial(refused, partial(_read_picture, pictures / "a.png")))


def _read_picture(path: Path) -> object:
    from autosim.formats.pictures import read_picture

    return read_picture(path)


def messages(draw: random.Random) -> Iterator[Input]:
    """Names that are misspelt, or are megabytes: the near one is named, the long one is not repeated."""
    from autosim import registry

    def near(expected: str, *arguments: str) -> str | None:
        errors = io.StringIO()
        with redirect_stderr(errors):
            fault = command(*arguments)
            from autosim.cli.main import main

            main(list(arguments))
        return fault or (None if f"did you mean {expected}?" in errors.getvalue() else "no near name")

    def misspelt(name: str) -> str:
        place = draw.randrange(1, len(name))
        return draw.choice(
            [name[:place] + name[place] + name[place:], name[:place] + name[place + 1 :] + "x"[: len(name) < 4]]
        )

    for kind, names in (("algo", registry.algorithm_names()), ("env", registry.environment_names())):
        other = "--env=mnist" if kind == "algo" else "--algo=random"
        for name in names:
            wrong = misspelt(name)
            if wrong not in names and len(name) > 3:
                yield Input(
                    "messages",
                    f"--{kind} {wrong}",
                    partial(near, name, "run", f"--{kind}={wrong}", other),
                )
    for option in ("workers", "checkpoint_every", "budget.images", "render.step", "closing_networks", "algo.frames"):
        yield Input("messages", f"--{option}x", partial(near, f"--{option}", *RUN, f"--{option}x=1"))
    for name in ("run", "compare", "report", "tune", "list", "check"):
        yield Input("messages", f"{name}x", partial(near, name, f"{name}x"))
    long = [
        "x" * 10**6,
        "é" * 10**6,
        "\x1b[31m" * 10**4,
        "\n" * 1000,
        "x y " * 10**5,
        "'" * 10**5,
        "9" * 5000,
        "‮abc",
        "[" * 3000,
    ]
    for option in ("--seed", "--device", "--features", "--algo.frames", "--target.format", "--budget.images"):
        for text in long:
            yield Input(
                "messages",
                f"{option} {text[:10]!r} × {len(text):,}",
                partial(command, *RUN, f"{option}={text}"),
            )
    for device in ("mps", "meta", "cuda:99", "cpu:7x", "tpu", "cuda:-1", "hpu", "xla", "vulkan"):
        yield Input("messages", f"--device {device}", partial(refused, partial(_device, device)))


def _device(name: str) -> object:
    from autosim.runs.opening import choose_device

    return choose_device(name)
