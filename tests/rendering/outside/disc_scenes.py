"""Scenes of ``disc_engine.py``, and the renderer that starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from autosim.rendering.annotations import Boxes, ClassMask
from autosim.rendering.external.engine import EngineSettings
from autosim.rendering.external.renderer import ExternalRenderer
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("disc_engine.py")
SCHEMA = Schema(
    (NodeClass("disc", (Continuous("x", 0.0, 32.0, step=0.5), Continuous("brightness", 0.0, 0.9, step=0.02))),)
)
ANNOTATIONS = {"mask": ClassMask(("ground", "disc")), "boxes": Boxes(("disc",), 2)}


def disc(x: float, brightness: float = 0.5) -> SceneGraph:
    return SceneGraph((Node("disc", {"x": x, "brightness": brightness}, 0),), (-1,))


def engine(*arguments: str, edge: int = 32, **options: Any) -> ExternalRenderer:
    environment = {"PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    settings = EngineSettings(environment=environment, **options)
    command = [sys.executable, str(SCRIPT), *arguments]
    return ExternalRenderer(SCHEMA, edge, edge, ANNOTATIONS, command, settings)
