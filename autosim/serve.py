"""Serve frames to autosim from an engine of your own: one file, standard library and numpy, Python 3.8 or newer.

Copy this file beside the engine's script, or import it, and call :func:`serve` with a function that draws a scene::

    from autosim.serve import ClassMask, serve

    def render(scene, seed, effort):
        for node in scene["nodes"]: ...
        return image, {"mask": mask}

    serve(render, height=128, width=128, annotations={"mask": ClassMask(["ground", "thing"])})

``docs/protocol.md`` describes what is sent. What the engine prints goes to its log: standard output is for answers.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any, Callable, Sequence  # noqa: UP035 - for Python 3.8

import numpy as np

PROTOCOL = 1
# Where autosim waits for the engine, as HOST:PORT, and what the engine has to say first; set for engines on a socket.
SOCKET, TOKEN = "AUTOSIM_SOCKET", "AUTOSIM_TOKEN"


def ClassMask(classes: Sequence[str]) -> dict[str, Any]:
    """uint8 (height, width): the class of each pixel, an index into ``classes``, the background first."""
    return {"kind": "ClassMask", "classes": list(classes)}


def InstanceMask(most: int) -> dict[str, Any]:
    """uint16 (height, width): the object of each pixel, 1 to ``most``, and 0 where there is none."""
    return {"kind": "InstanceMask", "most": most}


def Boxes(classes: Sequence[str], most: int) -> dict[str, Any]:
    """Rows (x0, y0, x1, y1, class), at most ``most`` of them; see :func:`boxes`."""
    return {"kind": "Boxes", "classes": list(classes), "most": most}


def Depth() -> dict[str, Any]:
    """float32 (height, width): distance along the camera's axis, 0 where nothing is seen."""
    return {"kind": "Depth"}


def boxes(rows: Sequence[Sequence[float]], most: int) -> np.ndarray[Any, Any]:
    """Rows (x0, y0, x1, y1, class) as the annotation ``Boxes`` has them: float32 (most, 5), unused rows -1."""
    found = np.full((most, 5), -1.0, dtype=np.float32)
    if len(rows):
        found[: len(rows)] = np.asarray(rows, dtype=np.float32)
    return found


def serve(
    render: Callable[..., Any],
    height: int,
    width: int,
    annotations: dict[str, dict[str, Any]] | None = None,
    name: str = "engine",
) -> None:
    """Answer requests until autosim closes the connection.

    ``render(scene, seed, effort)`` gives the image, (height, width, 3) as uint8 or as float32 in [0, 1], and a
    dictionary of annotations; or the image alone where there are none. ``scene`` is a scene graph as JSON has it:
    ``{"nodes": [{"class": …, "slot": …, "parent": …, "attributes": {…}}, …], …}``. Equal arguments have to give equal
    pixels. An annotation may be a function without arguments that gives it: it is called at once, or not at all where
    only the image is wanted. An exception is sent to autosim as the scene's error, with its traceback in the log.
    """
    reader, writer = _connection()
    _Server(render, writer).run(reader, _hello(name, height, width, annotations or {}))


def _connection() -> tuple[Any, Any]:
    """Two binary files: requests come from one, answers go to the other."""
    if os.environ.get(SOCKET):
        host, port = os.environ[SOCKET].rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        both = connection.makefile("rwb")
        both.write(os.environ.get(TOKEN, "").encode() + b"\n")
        both.flush()
        return both, both
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    # What is printed from here on, by C libraries too, goes to the log.
    sys.stdout.flush()
    os.dup2(2, 1)
    return sys.stdin.buffer, answers


def _hello(name: str, height: int, width: int, annotations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"autosim": PROTOCOL, "engine": name, "height": height, "width": width, "annotations": annotations}


class _Server:
    def __init__(self, render: Callable[..., Any], writer: Any) -> None:
        self._render, self._writer = render, writer

    def run(self, reader: Any, hello: dict[str, Any]) -> None:
        requests: queue.Queue[bytes] = queue.Queue()

        def read() -> None:
            for line in reader:
                requests.put(line)
            # Autosim is gone, or has no more to ask; an engine that is drawing would never know.
            os._exit(0)

        self._send(hello)
        threading.Thread(target=read, daemon=True).start()
        while True:
            request = json.loads(requests.get().decode("utf-8"))
            self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        drawn: list[tuple[Any, dict[str, Any]]] = []
        for place, (scene, seed) in enumerate(zip(request["scenes"], request["seeds"])):  # noqa: B905 - for Python 3.8
            try:
                found = self._render(scene, seed, request["effort"])
                drawn.append(_image_and_truth(found, request["do"] == "render"))
            except Exception as error:
                traceback.print_exc()
                said = {"error": f"{type(error).__name__}: {error}", "scene": place}
                self._send({"autosim": PROTOCOL, "id": request["id"], **said})
                return
        images = [image for image, _ in drawn]
        if request["do"] == "render":
            images = [_eight_bits(image) for image in images]
            names = list(drawn[0][1])
            arrays = [("image", images)] + [(key, [truth[key] for _, truth in drawn]) for key in names]
        else:
            window = request.get("window")
            if window is not None:
                top, left, height, width = window
                images = [image[top : top + height, left : left + width] for image in images]
            arrays = [("image", images)]
        stacked = [(key, np.ascontiguousarray(np.stack(values))) for key, values in arrays]
        described = [[key, values.dtype.newbyteorder("<").str[1:], list(values.shape)] for key, values in stacked]
        little = [values.astype(values.dtype.newbyteorder("<"), copy=False) for _, values in stacked]
        self._send({"autosim": PROTOCOL, "id": request["id"], "arrays": described}, little)

    def _send(self, message: dict[str, Any], arrays: Sequence[Any] = ()) -> None:
        self._writer.write(json.dumps(message).encode("utf-8") + b"\n")
        for values in arrays:
            self._writer.write(memoryview(values).cast("B"))
        if arrays:
            self._writer.write(b"\n")
        self._writer.flush()


def _image_and_truth(drawn: Any, wanted: bool) -> tuple[Any, dict[str, Any]]:
    image, truth = drawn if isinstance(drawn, tuple) else (drawn, {})
    found = {name: values() if callable(values) else values for name, values in truth.items() if wanted}
    return np.asarray(image), {name: np.asarray(values) for name, values in found.items()}


def _eight_bits(image: Any) -> Any:
    return image if image.dtype == np.uint8 else np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
