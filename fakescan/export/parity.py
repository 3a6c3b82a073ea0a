"""Does the file compute what the torch model computes?

    fp32         |logit difference| <= 1e-3, and every token takes the expert that it takes in torch
    the others   at most 1 % of the verdicts change, and AUC falls by at most 0.5 points

A token whose two best router logits lie within 1e-3 is a near-tie: rounding may send it to the
other expert, and its image's logit then differs for no fault of the file. In fp32 such an image
does not count; one whose near-ties all went the same way does.

Shapes: n squares, N tokens, W router width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.errors import ParityError
from fakescan.evaluate.metrics import average_precision, roc_auc
from fakescan.export.crops import Looks
from fakescan.image import Preprocess, normalise
from fakescan.metadata import IMAGE, INPUT, OUTPUT_LOGIT, OUTPUT_ROUTER, DetectorMetadata
from fakescan.model.detector import DetectorModel
from fakescan.runtime import CPU, onnxruntime, session_options

TOLERANCE = 1e-3
"""Of logits, in fp32."""
NEAR_TIE = 1e-3
"""Between a token's two best router logits."""
MAX_FLIPS = 0.01
"""Share of verdicts that fp16 and int8 may change."""
MAX_AUC_LOSS = 0.005
"""What they may cost of the AUC, in [0, 1]."""
BATCH = 4

Progress = Callable[[int, int], None]
"""Called with the squares done and the squares in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How a file compares with the torch model in float32.

    Logits and scores are those of images, the mean over their squares, unless it says otherwise.
    """

    images: int
    """Compared."""
    max_difference: float
    """Largest |logit difference| of a square, those with a rerouted near-tie left out; NaN if one
    is."""
    flips: int
    """Verdicts that differ."""
    near_ties: float
    """Share of tokens, over all routers."""
    agreement: float
    """Share of tokens that take the same expert."""
    misrouted: int
    """Tokens that take another expert and are no near-ties."""
    max_logit: float = 0.0
    """Largest |difference|, nothing left out."""
    mean_logit: float = 0.0
    """Mean |difference|."""
    max_score: float = 0.0
    """Largest |difference| of scores, in [0, 1]."""
    mean_score: float = 0.0
    """Mean |difference| of scores."""
    ap_change: float | None = None
    """AP of the file less that of torch, in [-1, 1]; None unless both labels are there."""
    auc_change: float | None = None
    """The same of AUC."""


@dataclass(frozen=True, slots=True)
class Side:
    """What torch, or a file, says of all squares."""

    logits: NDArray[np.float64]
    """(n,)"""
    routers: NDArray[np.float32] | None
    """(n, routers, N, W)"""


def torch_side(
    model: DetectorModel, looks: Looks, preprocess: Preprocess, progress: Progress | None = None
) -> Side:
    """Run the torch model in float32, on whatever device it is."""
    return _side(lambda crops: _torch_outputs(model, normalise(crops, preprocess)), looks, progress)


def file_side(
    path: Path, looks: Looks, preprocess: Preprocess, progress: Progress | None = None
) -> Side:
    """Run a file as a scan on the CPU would."""
    session = onnxruntime().InferenceSession(path, session_options(), providers=[CPU])
    known = [output.name for output in session.get_outputs()]
    wanted = [name for name in (OUTPUT_LOGIT, OUTPUT_ROUTER) if name in known]
    return _side(lambda crops: _file_outputs(session, wanted, crops, preprocess), looks, progress)


def compare(ours: Side, theirs: Side, looks: Looks, metadata: DetectorMetadata) -> Parity:
    """The figures of a file's side (`theirs`) beside torch's."""
    counts, tokens, ties, agreed, misrouted = _routing(ours, theirs)
    counts |= ~np.isfinite(theirs.logits)  # nothing excuses those
    squares = np.abs(ours.logits - theirs.logits)
    before, after = (_of_images(side.logits, looks) for side in (ours, theirs))
    scores = [np.array([metadata.calibration.score(x) for x in side]) for side in (before, after)]
    verdicts = [[metadata.band.verdict(score) for score in side] for side in scores]
    away, moved = np.abs(before - after), np.abs(scores[0] - scores[1])
    return Parity(
        images=len(before),
        max_difference=float(squares[counts].max(initial=0)),
        flips=sum(a != b for a, b in zip(*verdicts, strict=True)),
        near_ties=ties / max(1, tokens),
        agreement=agreed / tokens if tokens else 1.0,
        misrouted=misrouted,
        max_logit=float(away.max()),
        mean_logit=float(away.mean()),
        max_score=float(moved.max()),
        mean_score=float(moved.mean()),
        ap_change=_change(average_precision, before, after, looks.labels),
        auc_change=_change(roc_auc, before, after, looks.labels),
    )


def _routing(ours: Side, theirs: Side) -> tuple[NDArray[np.bool_], int, int, int, int]:
    """(n,): whose near-ties went the same way; and tokens in all, near-ties, alike, misrouted."""
    mine, others = ours.routers, theirs.routers
    if mine is None or others is None:
        return np.ones(len(ours.logits), dtype=bool), 0, 0, 0, 0
    best = np.sort(mine, axis=-1)  # (n, routers, N, W)
    is_tie = np.zeros(mine.shape[:-1], dtype=bool)  # (n, routers, N)
    if mine.shape[-1] > 1:
        is_tie = best[..., -1] - best[..., -2] <= NEAR_TIE
    is_same = mine.argmax(-1) == others.argmax(-1)
    counts = (is_same | ~is_tie).all(axis=(1, 2))
    misrouted = int((~is_same & ~is_tie).sum())
    return counts, is_same.size, int(is_tie.sum()), int(is_same.sum()), misrouted


def _of_images(logits: NDArray[np.float64], looks: Looks) -> NDArray[np.float64]:
    """(n,) of squares -> the mean of each image's."""
    means: NDArray[np.float64] = np.add.reduceat(logits, looks.starts) / np.array(looks.counts)
    return means


def _change(
    figure: Callable[[NDArray[np.int_], NDArray[np.float64]], float],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    labels: tuple[int, ...] | None,
) -> float | None:
    if labels is None or set(labels) != {0, 1} or not np.isfinite(after).all():
        return None
    truth = np.array(labels)
    return figure(truth, after) - figure(truth, before)


def _side(
    run: Callable[[NDArray[np.uint8]], list[NDArray[Any]]], looks: Looks, progress: Progress | None
) -> Side:
    """Logits, and router logits when routed, of all squares, a few at a time."""
    parts: list[list[NDArray[Any]]] = []
    count = len(looks.squares)
    for start in range(0, count, BATCH):
        parts.append(run(looks.squares[start : start + BATCH]))
        if progress is not None:
            progress(min(start + BATCH, count), count)
    logits, *routers = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Side(logits.astype(np.float64), routers[0] if routers else None)


def verify(parity: Parity, metadata: DetectorMetadata, *, allow_drift: bool = False) -> None:
    """Refuse a file that differs too much.

    Args:
        parity: of the file.
        metadata: what is inside the file.
        allow_drift: any precision but fp32 may change what it likes.

    Raises:
        ParityError: with the figure and its limit.
    """
    if not (np.isfinite(parity.max_difference) and np.isfinite(parity.max_logit)):
        raise ParityError("parity: a logit is not a number")
    if metadata.precision == "fp32":
        _verify_exact(parity)
    elif not allow_drift:
        _verify_drift(parity, metadata.precision)


def _verify_drift(parity: Parity, precision: str) -> None:
    if parity.flips > MAX_FLIPS * parity.images:
        raise ParityError(
            f"parity: {parity.flips} of {parity.images} verdicts change in {precision}; at most "
            f"{MAX_FLIPS:.0%} may. Try another --precision, more images with --check, or "
            "--allow-drift"
        )
    if parity.auc_change is not None and parity.auc_change < -MAX_AUC_LOSS:
        raise ParityError(
            f"parity: AUC falls by {-parity.auc_change:.2%} in {precision}; at most "
            f"{MAX_AUC_LOSS:.1%} are allowed. Try another --precision, or --allow-drift"
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


def _file_outputs(
    session: Any, wanted: list[str], crops: NDArray[np.uint8], preprocess: Preprocess
) -> list[NDArray[Any]]:
    """The wanted outputs for a batch; a graph that takes a whole image gets crop after crop."""
    if session.get_inputs()[0].name == INPUT:
        outputs: list[NDArray[Any]] = session.run(wanted, {INPUT: normalise(crops, preprocess)})
        return outputs
    each = [session.run(wanted, {IMAGE: np.ascontiguousarray(crop)}) for crop in crops]
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


@torch.no_grad()
def _torch_outputs(model: DetectorModel, pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
    device = next(model.parameters()).device
    output = model(torch.from_numpy(pixels).to(device))
    sides = [output.logit]
    if output.router_logits:
        sides.append(torch.stack(output.router_logits, dim=1))
    return [side.float().cpu().numpy() for side in sides]
