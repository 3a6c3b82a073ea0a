"""An exported detector in ONNX Runtime: file -> metadata, crops -> logits.

Scores are the same whatever else is in the batch: on the CPU images go through the graph one by
one. That costs nothing, since the tokens of one image fill a matrix product; measured on 2 cores
with an int8 ViT-B/16 of 8 blocks: 232 ms of CPU time per image alone, 240 in batches of 8.

The int8 weights are expanded to float32 once, at load. ONNX Runtime's own choice would round the
activations to 8 bits as well (MatMulNBits): 26 % faster, but the levels of CLIP move by 2 % of
their spread, and by another amount on another processor.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError, WeightsError
from fakescan.fast.form import VERSION
from fakescan.fast.store import kept_form, new_form
from fakescan.gpu import has_gpu
from fakescan.image import normalise
from fakescan.machine import usable_cores
from fakescan.metadata import (
    IMAGE,
    INPUT,
    OUTPUT_LOGIT,
    OUTPUT_PATCH,
    OUTPUT_ROUTER,
    DetectorMetadata,
)
from fakescan.runtime import CPU, onnxruntime, session_options, version
from fakescan.signature import check_signature, metadata_of

Device = Literal["auto", "cpu", "cuda"]
Arithmetic = Literal["stored", "fast"]
"""As the file keeps it, or the fast form that `fakescan.fast` makes of it."""
FLOATS = {"fp32": "float32", "int8": "float32", "fp16": "float16"}
"""What files of these precisions are multiplied in; the others are called as they are."""

CUDA = "CUDAExecutionProvider"
DETAILS = {OUTPUT_PATCH: 2, OUTPUT_ROUTER: 4}
"""Outputs that a graph may have besides the logit, and how many dimensions they have."""


class Details(NamedTuple):
    """All that a graph says of one crop; None for what it does not say."""

    logit: float
    """As `OnnxSession.logits` gives it."""
    patch_logit: NDArray[np.float32] | None
    """(N - 1,): what each patch adds to the logit."""
    router_logits: NDArray[np.float32] | None
    """(routers, N, W), lowest block first."""


class OnnxSession:
    """A detector file, ready to score; safe to share between threads.

    Shapes: B images, S side of the square input.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: Device = "auto",
        threads: int | None = None,
        arithmetic: Arithmetic = "stored",
    ) -> None:
        """Load one file.

        Args:
            path: a file that `fakescan export` wrote.
            device: `auto` takes the GPU when there is one that works.
            threads: for one image on the CPU; None takes one per core that may be used.
            arithmetic: `fast` scores with the fast form of the file, on the CPU only; the form is
                made when it is first asked for, and kept in the folder for caches.

        Raises:
            WeightsError: not a file that can be used, with the reason.
            ConfigError: `device` is `cuda` and no GPU can be used, or there is no fast form.
        """
        _check_choices(device, arithmetic)
        model = _read(path)
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.warnings: list[str] = []
        """What went wrong and does not matter for scores, each in one line."""
        kept = kept_form(self.sha256, version()) if arithmetic == "fast" else None
        self._session = _load(kept or model, path, "cpu" if kept else device, threads)
        self._is_cpu = self._session.get_providers()[0] == CPU
        if device == "cuda" and self._is_cpu:
            raise ConfigError(
                "--device cuda: ONNX Runtime finds no CUDA and cuDNN: pip install 'fakescan[gpu]'"
            )
        self.metadata: DetectorMetadata = metadata_of(self._session, path)
        self._takes_image = [i.name for i in self._session.get_inputs()] == [IMAGE]
        check_signature(self._session, path, self.metadata.preprocess.image_px)
        self.is_fast = arithmetic == "fast" and self._is_cpu
        """Scores come from the fast form; on a GPU it is never used."""
        if self.is_fast and kept is None:
            self._session = self._made_fast(model, path, threads)

    def _made_fast(self, model: bytes, path: Path, threads: int | None) -> Any:
        def load(model: bytes) -> Any:
            return _load(model, path, "cpu", threads)

        try:
            made = new_form(model, self.sha256, version(), self.metadata, load)
        except ValueError as e:
            raise ConfigError(f"{path}: --arithmetic fast cannot be used: {e}") from e
        self.warnings += made.warnings
        return load(made.model)

    @property
    def arithmetic(self) -> str:
        """What the tower's products are computed in: float32, int8-fast-2, ..."""
        if self.is_fast:
            return f"int8-fast-{VERSION}"
        return FLOATS.get(self.metadata.precision, self.metadata.precision)

    @property
    def chosen(self) -> Arithmetic:
        """How to ask for the same arithmetic again."""
        return "fast" if self.is_fast else "stored"

    @property
    def fingerprint(self) -> str:
        """The detector's name, the first 12 hex digits of its file's sha256, and the fast form."""
        form = f"+{self.arithmetic}" if self.is_fast else ""
        return f"{self.metadata.name}@{self.sha256[:12]}{form}"

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where the graph runs."""
        return "cpu" if self._is_cpu else "cuda"

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, S, S, 3) RGB crops as `fakescan.image.view` makes them -> (B,) logits of fake."""
        px = self.metadata.preprocess.image_px
        if crops.ndim != 4 or crops.shape[1:] != (px, px, 3) or crops.dtype != np.uint8:
            raise ValueError(
                f"crops must be uint8 (B, {px}, {px}, 3), got {crops.dtype} {crops.shape}"
            )
        step = 1 if self._is_cpu or self._takes_image else max(1, len(crops))
        parts = [self._run(crops[i : i + step]) for i in range(0, len(crops), step)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def details(self, crop: NDArray[np.uint8]) -> Details:
        """What explains the logit of one crop, (S, S, 3) RGB; it costs as much as a logit."""
        ranks = {output.name: len(output.shape) for output in self._session.get_outputs()}
        names = [name for name, rank in DETAILS.items() if ranks.get(name) == rank]
        logit, *values = self._session.run([OUTPUT_LOGIT, *names], self._feed(crop[np.newaxis]))
        found = {
            name: np.asarray(value[0], np.float32)
            for name, value in zip(names, values, strict=True)
        }
        return Details(float(logit[0]), found.get(OUTPUT_PATCH), found.get(OUTPUT_ROUTER))

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        (logit,) = self._session.run([OUTPUT_LOGIT], self._feed(crops))
        return np.asarray(logit, np.float32)  # (B,)

    def _feed(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The graph's input; one that takes a whole image sees a single square in a crop."""
        if self._takes_image:
            return {IMAGE: np.ascontiguousarray(crops[0])}
        return {INPUT: normalise(crops, self.metadata.preprocess)}  # (B, 3, S, S)


def open_graph(
    path: Path, device: Device = "auto", threads: int | None = None
) -> tuple[Any, str, bool]:
    """An ONNX file of any kind in the runtime: the session, the file's sha256, if it is on the CPU.

    Raises:
        WeightsError: not a file that can be loaded.
        ConfigError: `device` is `cuda` and no GPU can be used.
    """
    model = _read(path)
    session = _load(model, path, device, threads)
    return session, hashlib.sha256(model).hexdigest(), session.get_providers()[0] == CPU


def _check_choices(device: Device, arithmetic: Arithmetic) -> None:
    for name, value, known in (("device", device, Device), ("arithmetic", arithmetic, Arithmetic)):
        if value not in get_args(known):
            raise ConfigError(f"{name}: {value!r}; known: {', '.join(get_args(known))}")
    if arithmetic == "fast" and device == "cuda":
        raise ConfigError("--arithmetic fast: for the CPU only; use --device cpu")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        raise WeightsError(f"{path}: no such model file") from e
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror})") from e


def _load(model: bytes, path: Path, device: Device, threads: int | None) -> Any:
    ort = onnxruntime()
    options = session_options(threads or _threads())
    providers = _providers(ort, device)
    with_cpu = [*providers, CPU] if providers else [CPU]
    try:
        return ort.InferenceSession(model, options, providers=with_cpu, enable_fallback=0)
    except _refusals() as e:
        reason = str(e).split(" : ")[-1].strip().splitlines()[0]
        if "xternal data" in str(e):
            reason = "it keeps tensors in a second file; fakescan reads single files"
        raise WeightsError(f"{path}: not a model that can be loaded ({reason})") from e


def _threads() -> int:
    """For one image; 0 leaves it to ONNX Runtime, which takes one per physical core.

    It also binds each to a core, whether this process may use that core or not.
    """
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def _refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises on a file that it cannot use."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel",
             "NotImplemented", "RuntimeException")  # fmt: skip
    return (RuntimeError, *(getattr(state, name) for name in names))


def _providers(ort: Any, device: Device) -> list[Any]:
    """GPU providers to try before the CPU."""
    if device == "cpu":
        return []
    if not (CUDA in ort.get_available_providers() and has_gpu()):
        if device == "cuda":
            raise ConfigError(
                "--device cuda: no NVIDIA GPU with a driver on this machine; use --device cpu"
            )
        return []
    with redirect_stdout(io.StringIO()):  # it prints what it cannot find
        ort.preload_dlls(directory="")  # from the packages of the extra `gpu`, if they are there
    return [(CUDA, {"use_tf32": "0"})]  # TF32 would move scores in the third digit
