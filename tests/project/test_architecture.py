"""The house is as docs/architecture.md says: imports run one way, workers stay light, every file has its line."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("autosim", "algorithms", "envs", "benchmarks")
LAYERS = (
    (
        "autosim.errors",
        "autosim.seeding",
        "autosim.cache",
        "autosim.files",
        "autosim.ranges",
        "autosim.parallel",
        "autosim.search_space",
        "autosim.serve",
    ),
    ("autosim.scenes",),
    ("autosim.rendering",),
    ("autosim.formats",),
    ("autosim.learning",),
    ("autosim.env",),
    ("autosim.target", "autosim.session", "autosim.algorithm", "autosim.registry"),
    ("autosim.testing", "algorithms", "envs"),
    ("autosim.reports",),
    ("autosim.runs",),
    ("autosim.comparison", "autosim.tuning", "autosim.export"),
    ("autosim.cli",),
    ("autosim.api", "autosim"),
    ("benchmarks",),
)
# Neighbours in one layer that do not know each other.
APART = ("autosim.testing", "algorithms", "envs")
# What a render worker imports, and what it is made of.
LIGHT = ("autosim.errors", "autosim.seeding", "autosim.parallel", "autosim.rendering", "autosim.scenes.grammar")
SLOW = {
    "drjit", "matplotlib", "mitsuba", "ray", "scipy", "sklearn", "tensorboard", "torch_geometric", "torchmetrics",
    "torchvision",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """What a module imports; ``kind`` is load (with the module itself), call (in a function) or type (annotations)."""

    name: str
    kind: str


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    """The imports of a module, in order."""
    return tuple(walk(ast.parse(modules()[module].read_text(encoding="utf-8")), "load"))


def walk(node: ast.AST, kind: str) -> Iterator[Import]:
    """The imports below a node of the syntax tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, kind) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module, "relative import"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (Import(name if name in modules() else child.module, kind) for name in names)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from walk(child, "type" if kind == "type" else "call")
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.body:
                yield from walk(ast.Module([part], []), "type")
            for part in child.orelse:
                yield from walk(ast.Module([part], []), kind)
        else:
            yield from walk(child, kind)


def layer(module: str) -> int:
    """The place of a module in the order of layers: that of its longest known beginning."""
    places = {prefix: i for i, prefixes in enumerate(LAYERS) for prefix in prefixes}
    while module not in places:
        module = module.rpartition(".")[0]
    return places[module]


def inside(module: str, package: str) -> bool:
    """Whether a module is a package or within it."""
    return module == package or module.startswith(f"{package}.")


def loaded_with(module: str) -> Iterator[tuple[str, str]]:
    """Everything that importing a module loads, as (importing module, imported name)."""
    waiting, seen = [module], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        parents = [current.rpartition(".")[0]]
        for name in [*(found.name for found in imports(current) if found.kind == "load"), *filter(None, parents)]:
            yield current, name
            if name in modules():
                waiting.append(name)


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module: str) -> None:
    upwards = [
        found.name
        for found in imports(module)
        if found.kind != "type" and found.name in modules() and layer(found.name) > layer(module)
    ]
    assert upwards == []


@pytest.mark.parametrize("module", modules())
def test_neighbours_do_not_know_each_other_and_the_engine_knows_neither(module: str) -> None:
    names = [found.name for found in imports(module)]
    # A benchmark stands above all of them and may name any; the command runs the suites on what is installed.
    known = {"benchmarks": APART, "autosim.cli": ("autosim.testing",)}
    allowed = {package for user, packages in known.items() if inside(module, user) for package in packages}
    strangers = [package for package in APART if not inside(module, package) and package not in allowed]
    assert [name for name in names for package in strangers if inside(name, package)] == []


def test_the_engine_names_no_method_and_no_environment() -> None:
    points = entry_points()
    # The names of libraries and of chance are words of their own.
    names = {name for group in ("autosim.algorithms", "autosim.envs") for name in points[group]} - {
        "cmaes",
        "optuna",
        "random",
    }
    assert len(names) >= 9
    word = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    found = []
    for module, path in modules().items():
        if not inside(module, "autosim"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                found += [(module, match) for match in word.findall(node.value)]
    assert found == []


def entry_points() -> configparser.ConfigParser:
    """What this repository offers by name, as set-up declares it."""
    declared = re.search(r"entry_points=\{(.*?)\n    \},", (ROOT / "setup.py").read_text(encoding="utf-8"), re.DOTALL)
    assert declared
    groups = ast.literal_eval("{" + declared.group(1) + "}")
    points = configparser.ConfigParser()
    points.read_dict({group: dict(line.split(" = ") for line in lines) for group, lines in groups.items()})
    return points


def test_every_layer_is_where_the_document_says() -> None:
    order = [line.strip() for line in DOCUMENT.split("## Layers")[1].split("\n\n")[2].splitlines()]
    stated = [{name.strip() for name in re.split("[,·]", line)} for line in order]
    short = [{name.removeprefix("autosim.") for name in names if name != "autosim"} for names in LAYERS]
    assert stated == short


def test_what_a_render_worker_imports_is_free_of_torch() -> None:
    light = [module for module in modules() if any(inside(module, package) for package in LIGHT)]
    light += [module for module in modules() if inside(module, "envs") and module.endswith((".renderer", ".scene"))]
    assert len(light) > 10
    heavy = [
        (module, importer)
        for module in light
        for importer, name in loaded_with(module)
        if name.split(".")[0] in {"torch", *SLOW}
    ]
    assert heavy == []


@pytest.mark.parametrize("module", modules())
def test_slow_libraries_are_imported_where_they_are_used(module: str) -> None:
    assert [found.name for found in imports(module) if found.kind == "load" and found.name.split(".")[0] in SLOW] == []


def test_every_file_has_its_line_and_every_line_its_file() -> None:
    table = DOCUMENT.split("## Files")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", table, re.MULTILINE)
    files = [
        path.relative_to(ROOT).as_posix()
        for name, path in modules().items()
        if path.name != "__init__.py" and not inside(name, "benchmarks")
    ]
    assert sorted(listed) == sorted(files)
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"`{script.name}`" in table


def test_what_the_documents_name_is_there() -> None:
    pages = sorted((ROOT / "docs" / "methods").glob("*.md"))
    text = DOCUMENT + "".join(path.read_text(encoding="utf-8") for path in pages)
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert [path for path in re.findall(r"`(tests/[\w/]+\.py)`", text) if not (ROOT / path).exists()] == []
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) >= 8
    assert [name for name in named if name not in defined] == []
