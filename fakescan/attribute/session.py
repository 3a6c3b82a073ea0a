"""An exported attributor in ONNX Runtime: crops -> logits of all known classes. Torch-free."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.answer import ClassRecord, Rules, generators
from fakescan.attribute.bundle import EXPORTED, read_manifest
from fakescan.config import from_dict, to_dict
from fakescan.errors import AttributorError, ConfigError, WeightsError
from fakescan.image import Preprocess, normalise
from fakescan.metadata import INPUT, Precision
from fakescan.session import Device, open_graph

KEY = "fakescan_attributor"
"""Key of the JSON text among the ONNX file's metadata properties."""
OUTPUT = "class_logits"
"""(B, C) float32."""
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an exported attributor says of itself."""

    format_version: int = FORMAT_VERSION
    name: str
    """Of the bundle's folder."""
    digest: str
    """Of the manifest that it was made from."""
    precision: Precision = "fp32"
    preprocess: Preprocess
    classes: tuple[ClassRecord, ...]
    rules: Rules

    def to_json(self) -> str:
        """Text for the ONNX file's metadata properties."""
        return json.dumps(to_dict(self), sort_keys=True)


class OnnxNamer:
    """Crops -> logits of all known classes; see `fakescan.attribute.predict.Namer`."""

    def __init__(self, path: Path, *, device: Device = "auto") -> None:
        """Load an exported file.

        Raises:
            AttributorError: not such a file.
        """
        try:
            self._session, self.sha256, self._is_cpu = open_graph(path, device)
        except WeightsError as e:
            raise AttributorError(str(e)) from e
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        self.exported = _exported(text, path)
        self.classes = self.exported.classes
        self.rules = self.exported.rules
        self.preprocess = self.exported.preprocess
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        if outputs.get(OUTPUT, [])[1:] != [len(self.classes)] or not generators(self.classes):
            raise AttributorError(f"{path}: its output is not the logits of its classes")

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(B, S, S, 3) RGB crops -> (B, C)."""
        step = 1 if self._is_cpu else max(1, len(crops))
        parts = [
            self._session.run([OUTPUT], {INPUT: normalise(crops[i : i + step], self.preprocess)})[0]
            for i in range(0, len(crops), step)
        ]
        return np.concatenate(parts).astype(np.float64)


def _exported(text: str | None, path: Path) -> Exported:
    if text is None:
        raise AttributorError(f"{path}: not an attributor; `fakescan attribute export` writes it")
    try:
        values = json.loads(text)
        version = values["format_version"]
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise AttributorError(f"{path}: attributor format {version!r}: update fakescan")
        return from_dict(Exported, values, str(path))
    except (ValueError, KeyError, TypeError, ConfigError) as e:
        raise AttributorError(f"{path}: what it says of itself cannot be read ({e})") from e


def exported_file(attr: Path) -> Path:
    """The exported file of a bundle, or the file itself.

    Raises:
        AttributorError: the bundle was not exported, or has learnt since.
    """
    if not attr.is_dir():
        return attr
    read_manifest(attr)
    path = attr / EXPORTED
    if not path.is_file():
        raise AttributorError(f"{attr}: not exported yet; run: fakescan attribute export {attr}")
    return path


def open_namer(attr: Path, *, device: Device = "auto") -> OnnxNamer:
    """What names generators, from a bundle that was exported, or from an exported file.

    Raises:
        AttributorError: not exported, or out of date, or not such a file.
    """
    namer = OnnxNamer(exported_file(attr), device=device)
    if attr.is_dir() and namer.exported.digest != read_manifest(attr).digest():
        raise AttributorError(
            f"{attr}: {EXPORTED} is out of date; run again: fakescan attribute export {attr}"
        )
    return namer
