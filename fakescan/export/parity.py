"""Does the file compute what the torch model computes?

    fp32         |logit difference| <= 1e-3, and every token takes the expert that it takes in torch
    fp16, int8   at most 1 % of the verdicts change

A token whose two best router logits lie within 1e-3 is a near-tie: rounding may send it to the
other expert, and its image's logit then differs for no fault of the file. In fp32 such an image
does not count; one whose near-ties all went the same way does.

Shapes: B images, N tokens, W router width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from fakescan.errors import ParityError
from fakescan.image import normalise
from fakescan.metadata import IMAGE, INPUT, OUTPUT_LOGIT, OUTPUT_ROUTER, DetectorMetadata
from fakescan.model.detector import DetectorModel
from fakescan.session import FATAL, SESSION_CONFIG

TOLERANCE = 1e-3
"""Of logits, in fp32."""
NEAR_TIE = 1e-3
"""Between a token's two best router logits."""
MAX_FLIPS = 0.01
"""Share of verdicts that fp16 and int8 may change."""
BATCH = 4

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How a file compares with the torch model."""

    images: int
    """Compared."""
    max_difference: float
    """Largest |logit difference|, images with a rerouted near-tie left out; NaN if one is."""
    flips: int
    """Verdicts that differ."""
    near_ties: float
    """Share of tokens, over all routers."""
    agreement: float
    """Share of tokens that take the same expert."""
    misrouted: int
    """Tokens that take another expert and are no near-ties."""


class _Comparison:
    """Both sides of one batch after another."""

    def __init__(self) -> None:
        self.differences: list[NDArray[np.float64]] = []
        self.logits: list[tuple[float, float]] = []
        self.tokens = self.ties = self.agreed = self.misrouted = 0

    def add(self, torch_side: list[NDArray[Any]], file_side: list[NDArray[Any]]) -> None:
        """Logits (B,) and, when routed, router logits (B, routers, N, W) of each side."""
        (ours, *our_routers), (theirs, *their_routers) = torch_side, file_side
        counts = np.ones(len(ours), dtype=bool)  # (B,)
        for mine, others in zip(our_routers, their_routers, strict=True):
            best = np.sort(mine, axis=-1)  # (B, routers, N, W)
            is_tie = best[..., -1] - best[..., -2] <= NEAR_TIE if mine.shape[-1] > 1 else False
            is_tie = np.broadcast_to(is_tie, mine.shape[:-1])  # (B, routers, N)
            is_same = mine.argmax(-1) == others.argmax(-1)  # (B, routers, N)
            counts &= (is_same | ~is_tie).all(axis=(1, 2))
            self.tokens += is_same.size
            self.ties += int(is_tie.sum())
            self.agreed += int(is_same.sum())
            self.misrouted += int((~is_same & ~is_tie).sum())
        counts |= ~np.isfinite(theirs)  # nothing excuses those
        self.differences.append(np.abs(ours.astype(np.float64) - theirs)[counts])
        self.logits += zip(ours.tolist(), theirs.tolist(), strict=True)

    def result(self, metadata: DetectorMetadata) -> Parity:
        """The figures of all batches."""

        def verdict(logit: float) -> str:
            return metadata.band.verdict(metadata.calibration.score(logit))

        return Parity(
            images=len(self.logits),
            max_difference=float(np.concatenate(self.differences).max(initial=0)),
            flips=sum(verdict(ours) != verdict(theirs) for ours, theirs in self.logits),
            near_ties=self.ties / max(1, self.tokens),
            agreement=self.agreed / self.tokens if self.tokens else 1.0,
            misrouted=self.misrouted,
        )


def measure(
    model: DetectorModel,
    path: Path,
    metadata: DetectorMetadata,
    crops: NDArray[np.uint8],
    progress: Progress | None = None,
) -> Parity:
    """Run both on the same crops, the file as a scan on the CPU would.

    Args:
        model: on any device.
        path: of the exported file.
        metadata: what is inside the file.
        crops: (n, S, S, 3).
        progress: called after every batch.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    for key, value in SESSION_CONFIG.items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = [output.name for output in session.get_outputs()]
    wanted = [name for name in (OUTPUT_LOGIT, OUTPUT_ROUTER) if name in known]
    comparison = _Comparison()
    for start in range(0, len(crops), BATCH):
        pixels = normalise(crops[start : start + BATCH], metadata.preprocess)  # (B, 3, S, S)
        file_side = _file_side(session, wanted, crops[start : start + BATCH], pixels)
        comparison.add(_torch_side(model, pixels), file_side)
        if progress is not None:
            progress(min(start + BATCH, len(crops)), len(crops))
    return comparison.result(metadata)


def verify(parity: Parity, metadata: DetectorMetadata) -> None:
    """Refuse a file that differs too much.

    Raises:
        ParityError: with the figure and its limit.
    """
    if not np.isfinite(parity.max_difference):
        raise ParityError("parity: a logit is not a number")
    if metadata.precision == "fp32":
        _verify_exact(parity)
    elif parity.flips > MAX_FLIPS * parity.images:
        raise ParityError(
            f"parity: {parity.flips} of {parity.images} verdicts change in {metadata.precision}; "
            f"at most {MAX_FLIPS:.0%} may. Try --precision fp32, or more images with --check"
        )


def _verify_exact(parity: Parity) -> None:
    if parity.misrouted:
        raise ParityError(
            f"parity: {parity.misrouted} tokens take another expert than in torch, "
            f"though their best router logits differ by more than {NEAR_TIE:g}"
        )
    if parity.max_difference > TOLERANCE:
        raise ParityError(
            f"parity: logits differ from torch by up to {parity.max_difference:.2g}; "
            f"at most {TOLERANCE:g} is allowed in fp32"
        )


def _file_side(
    session: Any, wanted: list[str], crops: NDArray[np.uint8], pixels: NDArray[np.float32]
) -> list[NDArray[Any]]:
    """The wanted outputs for a batch; a graph that takes a whole image gets crop after crop."""
    if session.get_inputs()[0].name == INPUT:
        outputs: list[NDArray[Any]] = session.run(wanted, {INPUT: pixels})
        return outputs
    each = [session.run(wanted, {IMAGE: np.ascontiguousarray(crop)}) for crop in crops]
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


@torch.no_grad()
def _torch_side(model: DetectorModel, pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
    device = next(model.parameters()).device
    output = model(torch.from_numpy(pixels).to(device))
    sides = [output.logit]
    if output.router_logits:
        sides.append(torch.stack(output.router_logits, dim=1))
    return [side.float().cpu().numpy() for side in sides]
