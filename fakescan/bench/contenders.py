"""Ways to score that need no torch: the file as it is, its fast form, what others make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.bench.compare import Score
from fakescan.errors import ConfigError
from fakescan.fast.file import MICROSOFT, Node, read_graph
from fakescan.fast.form import VERSION
from fakescan.fast.pattern import Finder
from fakescan.image import normalise
from fakescan.metadata import INPUT, OUTPUT_LOGIT
from fakescan.openvino_core import core
from fakescan.session import Arithmetic, OnnxSession

Make = Callable[[], Score]
STORED, BARE = "as stored", "bare dynamic int8"
OPENVINO = {"OpenVINO float32": "f32", "OpenVINO bfloat16": "bf16"}


def contenders(path: Path, threads: int, folder: Path) -> Iterator[tuple[str, Make]]:
    """Yield name and what makes the way to score, the file as it is first.

    Args:
        path: of the detector.
        threads: for one image.
        folder: where files may be written.
    """

    def session(file: Path, arithmetic: Arithmetic = "stored") -> Score:
        return scoring(OnnxSession(file, device="cpu", threads=threads, arithmetic=arithmetic))

    def bare() -> Score:
        file = folder / "bare.onnx"
        file.write_bytes(bare_dynamic(path.read_bytes()))
        return session(file)

    yield STORED, lambda: session(path)
    yield f"fast (int8-fast-{VERSION})", lambda: session(path, "fast")
    yield BARE, bare
    if find_spec("openvino") is not None:
        for name, kind in OPENVINO.items():
            yield name, partial(_in_openvino, path, threads, kind)


def scoring(session: OnnxSession) -> Score:
    """What a session says of a square."""
    return lambda square: float(session.logits(square[np.newaxis])[0])


def bare_dynamic(model: bytes) -> bytes:
    """A file whose blocks multiply in integers and do nothing else about it.

    One scale of all that an image gives a layer, the fused operator of ONNX Runtime: what its own
    tool for dynamic quantisation makes of such a file, and ONNX Runtime of that when it loads it.

    Raises:
        ConfigError: not a graph of the kind that `fakescan export` writes.
    """
    graph = read_graph(model)
    try:
        blocks = list(Finder(graph).blocks())
    except ValueError as e:
        raise ConfigError(str(e)) from e
    for block in blocks:
        for linear in (block.in_proj, block.out_proj, block.c_fc, block.c_proj):
            q = graph.put(f"{linear.name}.bare", linear.q)
            scale = graph.put(f"{linear.name}.bare.scale", linear.scale)
            bias = graph.put(f"{linear.name}.bare.bias", linear.bias)
            graph.nodes = [node for node in graph.nodes if linear.out not in node.outputs]
            inputs = [linear.x, q, scale, "", bias]
            graph.nodes.append(Node("DynamicQuantizeMatMul", inputs, [linear.out], MICROSOFT))
    graph.prune()
    return graph.to_bytes()


def _in_openvino(path: Path, threads: int, kind: str) -> Score:
    """A way to score in OpenVINO.

    Raises:
        ConfigError: it cannot read the file, or the file takes whole images.
    """
    preprocess = OnnxSession(path, device="cpu").metadata.preprocess
    openvino = core()
    settings = {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": threads}
    try:
        read = openvino.read_model(path)
        if read.inputs[0].any_name != INPUT:
            raise ConfigError("for files that take squares only")
        compiled = openvino.compile_model(read, "CPU", settings)
    except RuntimeError as e:
        raise ConfigError(str(e).splitlines()[-1]) from e

    def score(square: NDArray[np.uint8]) -> float:
        pixels = normalise(square[np.newaxis], preprocess)
        return float(compiled({INPUT: pixels})[OUTPUT_LOGIT][0])

    return score
