"""Is this file a detector that computes here what it computed where it was exported?

Each step gives a line or raises. Files come from anywhere: nothing in them is trusted before it
was looked at, and what is wrong is one line. Needs the package onnx; runs in ONNX Runtime or, to
judge another runtime, in OpenVINO.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan import specimens
from fakescan.errors import ConfigError, WeightsError
from fakescan.image import Preprocess, normalise, views
from fakescan.metadata import IMAGE, INPUT, KEY, OUTPUT_LOGIT, DetectorMetadata, from_json
from fakescan.openvino_core import core
from fakescan.protobuf import graph_sha256
from fakescan.runtime import CPU, onnxruntime, session_options
from fakescan.session import OnnxSession
from fakescan.specimens import GRAPH_KEY, Specimen

Runtime = Literal["onnxruntime", "openvino"]
Run = Callable[[dict[str, NDArray[Any]], str], NDArray[Any]]
"""Inputs by name, and the output that is wanted."""
Score = Callable[[NDArray[np.uint8]], float]
"""(H, W, 3) RGB -> the image's logit."""

TOLERANCES = {"fp32": 1e-3, "int8": 1e-3, "fp16": 0.05}
"""Of a specimen's logit, by precision."""
INTEGER_TOLERANCE = 0.25
"""Of a specimen's logit in integers: the last bits before rounding differ between processors."""
OPENVINO = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
"""Left alone, it rounds what int8 weights multiply to 8 bits, and everything to bfloat16."""
MAX_GREY = 1.01
"""Grey levels by which a resampled pixel may differ from Pillow's."""
SIZES = ((3.2, 2.1), (0.4, 0.7), (1.0, 5.3), (2.5, 2.5))
"""Width and height of the images that show how a file resamples, in sides of a square."""


def verify(
    path: Path, runtime: Runtime = "onnxruntime", sha256: str | None = None
) -> Iterator[str]:
    """Look at a file step by step; yield what is right, raise at what is not.

    Args:
        path: of the file.
        runtime: what to run it in.
        sha256: that the file should have, in hex.

    Raises:
        WeightsError: not a file that can be relied on, with the reason.
        ConfigError: a package is missing.
    """
    model = _read(path)
    yield _hashed(model, path, sha256)
    proto = _parsed(model, path)
    yield f"ONNX: valid, opset {proto.opset_import[0].version}, one file"
    properties = {p.key: p.value for p in proto.metadata_props}
    metadata = _complete(properties, path)
    yield f"metadata: {metadata.name}, {metadata.precision}, format {metadata.format_version}"
    yield _same_graph(model, properties, path)
    session = OnnxSession(path, device="cpu")  # whose reasons are one line each
    run = _openvino(path) if runtime == "openvino" else _onnxruntime(model)
    takes_image = [i.name for i in proto.graph.input] == [IMAGE]
    score = _scorer(run, session.metadata.preprocess, takes_image=takes_image)
    yield _runs(score, metadata.preprocess, path, runtime)
    if takes_image:
        yield _resamples(proto, metadata.preprocess, path, runtime)
    if specimens.KEY not in properties:
        yield "specimens: none; written by an older fakescan"
        return
    found = specimens.from_json(properties[specimens.KEY], str(path))
    yield _agrees(score, found, metadata.precision, path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror})") from e


def _hashed(model: bytes, path: Path, expected: str | None) -> str:
    found = hashlib.sha256(model).hexdigest()
    if expected is not None and found != expected.lower():
        raise WeightsError(f"{path}: its sha256 is {found}, not {expected}")
    return f"sha256: {found}"


def _parsed(model: bytes, path: Path) -> Any:
    """The file as a protobuf message, checked by the package onnx."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"verifying needs the package {e.name}: pip install 'fakescan[evaluate]'"
        ) from e
    try:
        proto = onnx.load_model_from_string(model)
    except (DecodeError, ValueError, TypeError) as e:
        raise WeightsError(f"{path}: not an ONNX file") from e
    if not proto.HasField("graph") or not proto.opset_import:
        raise WeightsError(f"{path}: not an ONNX file")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in _tensors(proto.graph)):
        raise WeightsError(
            f"{path}: it keeps tensors in a second file; fakescan reads single files"
        )
    if foreign := {o.domain for o in proto.opset_import} - {"", "ai.onnx"}:
        raise WeightsError(f"{path}: operators of {', '.join(sorted(foreign))}, not ONNX's own")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as e:
        logging.getLogger(__name__).debug("checker", exc_info=True)
        reason = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise WeightsError(f"{path}: not valid ONNX ({reason})") from e
    return proto


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors of a graph, those inside its nodes and their graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    yield from _tensors(inner)


def _complete(properties: dict[str, str], path: Path) -> DetectorMetadata:
    if KEY not in properties:
        raise WeightsError(
            f"{path}: an ONNX file without fakescan metadata; `fakescan export` writes it"
        )
    metadata = from_json(properties[KEY], str(path))
    wanted = {
        "name": metadata.name,
        "backbone.name": metadata.backbone.name,
        "backbone.sha256": metadata.backbone.sha256,
        "backbone.tower": metadata.backbone.tower,
        "model": metadata.model,
    }
    if missing := [name for name, value in wanted.items() if not value]:
        raise WeightsError(f"{path}: its metadata lack {', '.join(missing)}")
    return metadata


def _same_graph(model: bytes, properties: dict[str, str], path: Path) -> str:
    found = graph_sha256(model)
    expected = properties.get(GRAPH_KEY)
    if expected is None:
        return f"graph: sha256 {found[:12]}; none is recorded, by an older fakescan"
    if found != expected:
        raise WeightsError(
            f"{path}: its graph is not the one that was exported: sha256 {found[:12]}, "
            f"recorded {expected[:12]}"
        )
    return f"graph: sha256 {found[:12]}, as recorded at the export"


def _onnxruntime(model: bytes) -> Run:
    session = onnxruntime().InferenceSession(model, session_options(), providers=[CPU])

    def run(inputs: dict[str, NDArray[Any]], output: str) -> NDArray[Any]:
        return np.asarray(session.run([output], inputs)[0])

    return run


def _openvino(path: Path | bytes) -> Run:
    try:
        openvino = core()
    except ModuleNotFoundError as e:
        raise ConfigError("--runtime openvino: pip install openvino") from e
    try:
        compiled = openvino.compile_model(openvino.read_model(path), "CPU", OPENVINO)
    except RuntimeError as e:
        reason = next((x for x in str(e).splitlines() if x.strip()), "no reason given")
        raise WeightsError(f"OpenVINO cannot load the file ({reason.strip()})") from e

    def run(inputs: dict[str, NDArray[Any]], output: str) -> NDArray[Any]:
        return np.asarray(compiled(inputs)[output])

    return run


def image_scorer(model: bytes, preprocess: Preprocess, *, takes_image: bool) -> Score:
    """What gives the logit of an image in ONNX Runtime."""
    return _scorer(_onnxruntime(model), preprocess, takes_image=takes_image)


def _scorer(run: Run, preprocess: Preprocess, *, takes_image: bool) -> Score:

    def score(image: NDArray[np.uint8]) -> float:
        if takes_image:
            return float(run({IMAGE: image}, OUTPUT_LOGIT)[0])
        squares = views(Image.fromarray(image), preprocess)
        each = [normalise(square[np.newaxis], preprocess) for square in squares]
        return float(np.mean([run({INPUT: pixels}, OUTPUT_LOGIT)[0] for pixels in each]))

    return score


def _runs(score: Score, preprocess: Preprocess, path: Path, runtime: str) -> str:
    px = preprocess.image_px
    logit = score(np.full((px, px, 3), 128, np.uint8))
    if not np.isfinite(logit):
        raise WeightsError(f"{path}: the logit of a grey image is {logit}")
    return f"runs: in {runtime}; the logit of a grey image is {logit:.4f}"


def _resamples(proto: Any, preprocess: Preprocess, path: Path, runtime: Runtime) -> str:
    """Compare the squares inside the graph with those of Pillow."""
    import onnx

    opened = onnx.ModelProto()
    opened.CopyFrom(proto)
    del opened.graph.output[:]
    shape: list[str | int | None] = ["K", 3, preprocess.image_px, preprocess.image_px]
    kind = onnx.TensorProto.FLOAT
    opened.graph.output.append(onnx.helper.make_tensor_value_info(INPUT, kind, shape))
    known = {name for node in opened.graph.node for name in node.output}
    if INPUT not in known:
        raise WeightsError(f"{path}: its graph has no tensor {INPUT!r}, the squares it cuts")
    data = opened.SerializeToString()
    run = _openvino(data) if runtime == "openvino" else _onnxruntime(data)
    std, mean = (np.reshape(v, (3, 1, 1)) for v in (preprocess.std, preprocess.mean))
    furthest = 0.0
    for number, (width, height) in enumerate(SIZES):
        image = _test_card(round(width * preprocess.image_px), round(height * preprocess.image_px))
        expected = views(Image.fromarray(image), preprocess).transpose(0, 3, 1, 2)
        found = (run({IMAGE: image}, INPUT) * std + mean) * 255
        if found.shape != expected.shape:
            raise WeightsError(
                f"{path}: test image {number + 1}: {found.shape[0]} squares of an image, "
                f"{expected.shape[0]} would be right"
            )
        furthest = max(furthest, float(np.abs(found - expected).max()))
    if furthest > MAX_GREY:
        raise WeightsError(
            f"{path}: {runtime} resamples it wrongly: pixels differ from Pillow's by up to "
            f"{furthest:.0f} of 255 grey levels; scores would be wrong"
        )
    return f"resampling: as Pillow's, within {max(furthest, 0):.1f} grey levels"


def _test_card(width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3): fine diagonals, which turn into other patterns when pixels are skipped."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = [(a * x + b * y) // 4 % 2 * 200 + (x + y) % 51 for a, b in ((3, 1), (1, 3), (2, 5))]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _agrees(
    score: Score,
    found: list[Specimen],
    precision: str,
    path: Path,
) -> str:
    """Compare the logits of the specimens with those of the export."""
    limit = TOLERANCES.get(precision, INTEGER_TOLERANCE)
    furthest = 0.0
    for specimen in found:
        logit = score(specimen.pixels())
        away = abs(logit - specimen.logit)
        if not away <= limit:
            raise WeightsError(
                f"{path}: specimen {specimen.name}: the logit is {logit:.4f}, at the export it was "
                f"{specimen.logit:.4f}; at most {limit:g} apart would be right in {precision}"
            )
        furthest = max(furthest, away)
    return f"specimens: {len(found)} logits as at the export, within {furthest:.1g}"
