"""What a detector says of one crop besides its logit, by patch and by expert.

Shapes: S side of the crop, G patches along a side, N tokens (class token first), W router width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fakescan.explain.occlusion import occlusion
from fakescan.session import OnnxSession

Method = Literal["graph", "occlusion"]
NO_EXPERT = "none"
"""Name of a router column that stands for no expert."""
SITES = {"mlp": ("",), "attention": (" q", " k", " v", " out")}
"""What follows a block's number in a router's name."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Which experts the tokens of one crop took at one router."""

    name: str
    """Such as `block 6`."""
    experts: tuple[str, ...]
    """One name per router column, such as `rank 4`."""
    shares: tuple[float, ...]
    """Of the tokens, by expert; they add up to 1. Of a dense gate, mean probabilities."""
    chosen: NDArray[np.int64]
    """(G, G): the column with the highest probability, patch by patch."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where in the crop the logit comes from, and through which experts."""

    patches: NDArray[np.float32]
    """(G, G): what each patch adds to the logit; positive speaks for fake."""
    method: Method
    """How the values were found: the graph's own sum, or covering parts of the crop."""
    routings: tuple[Routing, ...]
    """One per router, lowest block first; none without routed experts."""
    is_dense: bool = False
    """Every expert sees every token, weighted by its probability."""
    logit: float = 0.0
    """Of the square that is explained."""
    squares: int = 1
    """Of the image that were scored; their mean is the image's logit."""


def explain(session: OnnxSession, squares: NDArray[np.uint8]) -> Explanation:
    """Explain the logit of the first of an image's squares, (K, S, S, 3) RGB: the middle one.

    A graph with a `levels` head gives each patch's share in its sum; any other detector is asked
    again with parts of the crop covered, at the price of 37 scores.
    """
    crop = squares[0]
    details = session.details(crop)
    patches = None if details.patch_logit is None else _square(details.patch_logit)
    model = session.metadata.model
    mole = model.get("mole") or {}
    is_dense = mole.get("gate") == "dense"
    routings = (
        ()
        if details.router_logits is None
        else _routings(details.router_logits, mole, is_dense=is_dense)
    )
    method: Method = "graph"
    if patches is None:
        patches, method = occlusion(session, crop), "occlusion"
    return Explanation(patches, method, routings, is_dense, details.logit, len(squares))


def _square(values: NDArray[Any]) -> NDArray[Any] | None:
    """(G * G,) -> (G, G); None when the values fill no square."""
    side = math.isqrt(len(values))
    return values.reshape(side, side) if side and side * side == len(values) else None


def _routings(
    logits: NDArray[np.float32], mole: Mapping[str, Any], *, is_dense: bool
) -> tuple[Routing, ...]:
    """(routers, N, W) -> one routing per router, as far as its tokens are a square of patches."""
    found = []
    for name, scores in zip(_router_names(mole, len(logits)), logits, strict=True):
        best = scores.argmax(axis=-1)  # (N,)
        chosen = _square(best[1:])
        if chosen is None:
            continue
        shares = _mean_chances(scores) if is_dense else _shares(best, scores.shape[-1])
        experts = _expert_names(mole, scores.shape[-1])
        found.append(Routing(name, experts, tuple(shares.tolist()), chosen))
    return tuple(found)


def _shares(best: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """(N,) columns -> (W,) shares of the tokens."""
    return np.bincount(best, minlength=width) / len(best)


def _mean_chances(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, W) router logits -> (W,) mean probabilities."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    chances: NDArray[np.float64] = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
    return chances


def _router_names(mole: Mapping[str, Any], count: int) -> list[str]:
    """In the graph's order: of each block, first those of the attention."""
    site = mole.get("site", "mlp")
    sites = (*SITES["attention"], " mlp") if site == "both" else SITES.get(site, ("",))
    names = [f"block {block}{end}" for block in mole.get("blocks") or () for end in sites]
    return names if len(names) == count else [f"router {i + 1}" for i in range(count)]


def _expert_names(mole: Mapping[str, Any], width: int) -> tuple[str, ...]:
    """By rank; columns beyond the experts stand for none."""
    names = [f"rank {rank}" for rank in mole.get("separate_ranks") or ()]
    if not names:
        return tuple(f"expert {i + 1}" for i in range(width))
    return (*names, *[NO_EXPERT] * width)[:width]
