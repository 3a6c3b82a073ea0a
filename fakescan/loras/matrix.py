"""Every file against every other.

Over the modules that two files share, K is the mean of their kernels. With the family's mean taken
away from each, it becomes a cosine:

    Kc = K - row means - column means + mean of all      per module, over files of the family
    similarity = sum of Kc(i, j) / sqrt(sum of Kc(i, i) * sum of Kc(j, j))      over shared modules

Shapes: N files, n of them with a module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.loras.collection import MIN_CENTRED, MIN_COVERAGE, Collection, Member
from fakescan.loras.exact import layers
from fakescan.loras.family import are_comparable
from fakescan.loras.kernel import DEFAULT, Kernel, similarities

EXACT_OPERATIONS = 2e12
"""Up to which all pairs are compared exactly by default: half a minute on two cores."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Similarities:
    """All pairs; NaN where two files cannot be compared."""

    raw: Floats
    """K, (N, N): 1 for the same update."""
    centred: Floats
    """Cosine without what is common to the family, (N, N); K itself in a small family."""
    coverage: Floats
    """Shared modules over all modules of both, (N, N)."""
    is_exact: bool
    """From factors; else from sketches."""


@dataclass(frozen=True, slots=True)
class ModuleKernel:
    """One module's kernel between the files that have it."""

    members: NDArray[np.int_]
    """(n,)."""
    values: Floats
    """(n, n)."""


def compare_all(
    collection: Collection,
    members: Sequence[Member],
    *,
    groups: frozenset[str] | None = None,
    is_exact: bool | None = None,
    kernel: Kernel = DEFAULT,
) -> Similarities:
    """Compare files with each other.

    Args:
        collection: the index that they are of.
        members: N files.
        groups: only modules of these; None for all.
        is_exact: from the files' factors or from sketches; None decides by the cost.
        kernel: for exact comparison; sketches have theirs.

    Raises:
        LoraError: exact comparison, and a file is gone or has changed.
    """
    if is_exact is None:
        is_exact = is_exact_affordable(collection, members)
    modules = (
        _exact_kernels(collection, members, groups, kernel)
        if is_exact
        else _sketch_kernels(members, groups)
    )
    return accumulate(modules, [m.family for m in members], is_exact=is_exact)


def is_exact_affordable(collection: Collection, members: Sequence[Member]) -> bool:
    """True when exact comparison takes seconds, and all files are still there."""
    if not members or not all(collection.is_there(m.entry) for m in members):
        return False
    columns = sum(m.sketch.summary.rank_max for m in members)
    widest = max(members, key=lambda m: len(m.sketch.keys)).sketch.keys
    sides = sum(sum(map(int, key.rpartition(" ")[2].split("x"))) for key in widest)
    return 2.0 * columns**2 * sides <= EXACT_OPERATIONS


def accumulate(
    modules: Iterator[ModuleKernel], families: Sequence[str], *, is_exact: bool
) -> Similarities:
    """Sum up modules' kernels.

    Args:
        modules: each module's, once.
        families: of the N files.
        is_exact: for the record.
    """
    count = len(families)
    names, family = np.unique(np.array(families, dtype=str), return_inverse=True)  # (F,), (N,)
    total, centred, own = (np.zeros((count, count), np.float32) for _ in range(3))
    shared = np.zeros((count, count), np.uint16)
    is_large = np.bincount(family, minlength=len(names)) >= MIN_CENTRED  # (F,)
    for module in modules:
        inside = _place(module.members, count)
        total[inside] += module.values
        shared[inside] += 1
        values = _without_means(module.values, family[module.members], is_large)
        centred[inside] += values
        own[inside] += np.diag(values)[:, None]
    counts = np.diag(shared).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        coverage = shared / (counts[:, None] + counts[None, :] - shared)
        total /= shared
        centred /= np.sqrt(np.maximum(own * own.T, 0.0))
    unusable = ~(coverage >= MIN_COVERAGE) | ~_comparable(names)[family][:, family]
    total[unusable] = np.nan
    centred[unusable] = np.nan
    return Similarities(total, centred, coverage.astype(np.float32), is_exact)


def _place(members: NDArray[np.int_], count: int) -> tuple[NDArray[np.int_] | slice, ...]:
    """Where a module's kernel lies; plain slices when all files have it, which is faster."""
    return (slice(None), slice(None)) if len(members) == count else np.ix_(members, members)


def _comparable(names: NDArray[np.str_]) -> NDArray[np.bool_]:
    return np.array([[are_comparable(a, b) for b in names] for a in names], dtype=bool)


def _without_means(values: Floats, family: NDArray[np.int_], is_large: NDArray[np.bool_]) -> Floats:
    """Take each family's mean away from its files, in kernel form; small ones keep theirs."""
    shares = np.zeros((len(values), len(is_large)), np.float32)  # (n, F)
    shares[np.arange(len(values)), family] = 1.0
    shares = np.where(is_large, shares / np.maximum(shares.sum(axis=0), 1.0), 0.0)
    shares = shares.astype(np.float32)
    to_means = values @ shares  # (n, F)
    between = shares.T @ to_means  # (F, F)
    side = to_means[:, family]  # (n, n): file i with the mean of j's family
    out: Floats = values - side - side.T + between[np.ix_(family, family)]
    return out


def _sketch_kernels(
    members: Sequence[Member], groups: frozenset[str] | None
) -> Iterator[ModuleKernel]:
    rows: dict[str, list[tuple[int, int]]] = {}
    for place, member in enumerate(members):
        sketch = member.sketch
        for row, (key, group) in enumerate(zip(sketch.keys, sketch.groups, strict=True)):
            if groups is None or group in groups:
                rows.setdefault(key, []).append((place, row))
    for places in rows.values():
        stacked = np.stack([members[p].sketch.values[r] for p, r in places]).astype(np.float32)
        stacked /= np.sqrt((stacked**2).sum(axis=1, keepdims=True))  # float16 rounds lengths
        yield ModuleKernel(np.array([p for p, _ in places]), stacked @ stacked.T)


def _exact_kernels(
    collection: Collection,
    members: Sequence[Member],
    groups: frozenset[str] | None,
    kernel: Kernel,
) -> Iterator[ModuleKernel]:
    paths = [collection.place(m.entry) for m in members]
    for layer in layers(paths):
        if groups is None or layer.group in groups:
            values = similarities(layer.spectra, kernel).astype(np.float32)
            yield ModuleKernel(np.array(layer.members), values)
