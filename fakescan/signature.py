"""What a detector's graph says of itself, and what it must take and give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakescan.errors import WeightsError
from fakescan.metadata import IMAGE, INPUT, KEY, OUTPUT_LOGIT, DetectorMetadata, from_json


def metadata_of(session: Any, path: Path) -> DetectorMetadata:
    """The metadata of a loaded file.

    Raises:
        WeightsError: it has none, or they cannot be read.
    """
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise WeightsError(
            f"{path}: an ONNX file without fakescan metadata; `fakescan export` writes it"
        )
    return from_json(text, str(path))


def check_signature(session: Any, path: Path, px: int) -> None:
    """Look at the inputs and outputs of a loaded file.

    Args:
        session: of ONNX Runtime.
        path: of the file.
        px: side of its squares, S.

    Raises:
        WeightsError: they are not a detector's.
    """
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape) for o in session.get_outputs()}
    kind, shape = outputs.get(OUTPUT_LOGIT, ("", []))
    is_right = (kind, len(shape)) == ("tensor(float)", 1) and (
        _takes_pixels(inputs, px) or _takes_image(inputs)
    )
    if not is_right:
        raise WeightsError(
            f"{path}: its input must be {INPUT} float32 (B, 3, {px}, {px}) or {IMAGE} uint8 "
            f"(H, W, 3), and an output {OUTPUT_LOGIT} float32 (B,), got {inputs} -> {outputs}"
        )


def _takes_pixels(inputs: dict[str, tuple[str, list[Any]]], px: int) -> bool:
    kind, shape = inputs.get(INPUT, ("", []))
    return (
        len(inputs) == 1
        and (kind, shape[1:]) == ("tensor(float)", [3, px, px])
        and not isinstance(shape[0], int)
    )


def _takes_image(inputs: dict[str, tuple[str, list[Any]]]) -> bool:
    kind, shape = inputs.get(IMAGE, ("", []))
    return (
        len(inputs) == 1
        and (kind, shape[2:]) == ("tensor(uint8)", [3])
        and not any(isinstance(side, int) for side in shape[:2])
    )
