"""One file against an index: ranked by sketches, the first of them again by exact kernels.

The exact kernel takes the place of the sketches' inner product; what is taken away with the
family's mean is still estimated by sketches.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fakescan.loras.collection import MIN_COVERAGE, Collection, Member
from fakescan.loras.exact import layers
from fakescan.loras.family import are_comparable
from fakescan.loras.index import Entry
from fakescan.loras.kernel import similarities
from fakescan.loras.means import Rows
from fakescan.loras.reading import sketch_of
from fakescan.loras.sketch import Projector
from fakescan.loras.store import Sketch
from fakescan.machine import usable_cores

RERANKED = 50
"""Candidates that are compared exactly, at least."""
CHUNK = 64
"""Files that a thread takes at once."""
OTHER_FAMILY, FEW_SHARED = "another base model", "too few modules in common"


@dataclass(frozen=True, slots=True)
class Match:
    """One file of the index beside the query."""

    entry: Entry
    similarity: float
    """Cosine without the family's mean; `raw` in a small family."""
    raw: float
    """Mean kernel over shared modules: 1 for the same update."""
    coverage: float
    """Shared modules over all modules of both."""
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """The files of an index, most similar first."""

    query: Sketch
    ranked: tuple[Match, ...]
    not_compared: tuple[tuple[Entry, str], ...]
    """With the reason."""
    is_centred: bool
    """Whether the mean of a family was taken away anywhere."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The query as files with certain modules see it; l shared modules."""

    mine: NDArray[np.int_]
    """Its rows, (l,)."""
    theirs: NDArray[np.int_]
    """Their rows, (l,)."""
    query: NDArray[np.float32]
    """(l, numbers)."""
    mean: NDArray[np.float32]
    """(l, numbers); zero where none is taken away."""
    is_centred: bool
    """Any of the mean is not zero."""
    both: NDArray[np.float32]
    """The query without the mean, and the mean, (2, l * numbers)."""
    inner: list[list[float]]
    """Inner products of the two, (2, 2)."""
    coverage: float


class Search:
    """A query that is prepared once for all files of an index."""

    def __init__(
        self, collection: Collection, query: Sketch, groups: frozenset[str] | None = None
    ) -> None:
        """Prepare.

        Args:
            collection: the index.
            query: of the same sketch size.
            groups: only modules of these; None for all.
        """
        self._collection = collection
        self._query = query
        self._groups = groups
        self._sides: dict[tuple[tuple[str, ...], str], _Side | None] = {}
        self._means: dict[str, Rows] = {}

    def rank(self) -> Matches:
        """Rank all files of the index by sketches.

        Raises:
            LoraIndexError: a sketch is damaged.
        """
        entries = self._collection.contents.entries
        with ThreadPoolExecutor(usable_cores()) as pool:
            parts = [entries[at : at + CHUNK] for at in range(0, len(entries), CHUNK)]
            matches = [pair for part in pool.map(self._chunk, parts) for pair in part]
        found = [match for _, match in matches if isinstance(match, Match)]
        left_out = [(entry, reason) for entry, reason in matches if isinstance(reason, str)]
        found.sort(key=lambda m: (-m.similarity, m.entry.path))
        is_centred = any(side is not None and side.is_centred for side in self._sides.values())
        return Matches(self._query, tuple(found), tuple(left_out), is_centred)

    def _chunk(self, entries: Sequence[Entry]) -> list[tuple[Entry, Match | str]]:
        """Some files, by one thread, which uses the same memory for all of them."""
        buffer: list[NDArray[np.float32]] = []
        return [(e, self._match(self._collection.member(e), buffer)) for e in entries]

    def _match(self, member: Member, buffer: list[NDArray[np.float32]]) -> Match | str:
        if not are_comparable(self._query.summary.family, member.family):
            return OTHER_FAMILY
        side = self.side(member)
        if side is None or side.coverage < MIN_COVERAGE:
            return FEW_SHARED
        values = _flat(member.sketch, side, buffer)
        with_query, with_mean = (side.both @ values).tolist()
        raw = (with_query + with_mean) / (2 * len(side.mine))
        similarity = raw
        if side.is_centred:
            (query, across), (_, mean) = side.inner
            other = float(np.vdot(values, values)) - 2 * with_mean + mean
            lengths = (query * other) ** 0.5 if other > 0 else 0.0
            similarity = (with_query - across) / lengths if lengths > 0 else 0.0
        return Match(member.entry, similarity, raw, side.coverage, is_exact=False)

    def side(self, member: Member) -> _Side | None:
        """The query's part in a comparison; None when no module is shared."""
        place = (member.sketch.keys, member.family)
        if place not in self._sides:
            self._sides[place] = self._new_side(member)
        return self._sides[place]

    def _new_side(self, member: Member) -> _Side | None:
        mine = self._allowed(self._query)
        theirs = self._allowed(member.sketch)
        shared = [key for key in mine if key in theirs]
        if not shared:
            return None
        rows = np.array([mine[key] for key in shared])
        query = self._query.values[rows].astype(np.float32)
        means = self._means_of(member.family)
        nothing = np.zeros(query.shape[1], np.float32)
        mean = np.stack([means.get(key, nothing) for key in shared]).astype(np.float32)
        coverage = len(shared) / (len(mine) + len(theirs) - len(shared))
        both = np.stack([(query - mean).reshape(-1), mean.reshape(-1)])
        return _Side(
            mine=rows,
            theirs=np.array([theirs[key] for key in shared]),
            query=query,
            mean=mean,
            is_centred=bool(mean.any()),
            both=both,
            inner=(both @ both.T).tolist(),
            coverage=coverage,
        )

    def _allowed(self, sketch: Sketch) -> dict[str, int]:
        pairs = zip(sketch.keys, sketch.groups, strict=True)
        return {
            key: row
            for row, (key, group) in enumerate(pairs)
            if self._groups is None or group in self._groups
        }

    def _means_of(self, family: str) -> Rows:
        if family not in self._means:
            self._means[family] = self._collection.means(family)
        return self._means[family]


def _flat(sketch: Sketch, side: _Side, buffer: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Shared rows as float32, (l * numbers,), in memory that is used again for the next file."""
    if not buffer or buffer[0].shape != side.query.shape:
        buffer[:] = [np.empty_like(side.query)]
    is_whole = len(side.theirs) == len(sketch.values)
    np.copyto(buffer[0], sketch.values if is_whole else sketch.values[side.theirs])
    return buffer[0].reshape(-1)


def _rows(sketch: Sketch, rows: NDArray[np.int_]) -> NDArray[Any]:
    """Some rows as float32; all of them without a copy of the float16."""
    if len(rows) == len(sketch.values):
        return sketch.values.astype(np.float32)
    return sketch.values[rows].astype(np.float32)


def search(
    collection: Collection,
    path: Path,
    *,
    top: int,
    groups: frozenset[str] | None = None,
    is_exact: bool = True,
) -> Matches:
    """Find the files of an index that are most like one file.

    Args:
        collection: the index.
        path: of the file that is asked about; it need not be in the index.
        top: how many are wanted.
        groups: only modules of these; None for all.
        is_exact: compare the first of them again by their factors, where their files are there.

    Raises:
        LoraError: the file cannot be used.
        LoraIndexError: the index cannot.
    """
    with threadpool_limits(1):  # many small products: more threads only wait for each other
        query = sketch_of(path, Projector(collection.contents.sketch_size))
    prepared = Search(collection, query, groups)
    matches = prepared.rank()
    if not is_exact:
        return matches
    head = matches.ranked[: max(RERANKED, 5 * top)]
    better = rerank(collection, path, prepared, head, groups)
    rest = matches.ranked[len(head) :]
    better = sorted(better, key=lambda m: (-m.similarity, m.entry.path))
    return replace(matches, ranked=(*better, *rest))


def rerank(
    collection: Collection,
    path: Path,
    prepared: Search,
    matches: Sequence[Match],
    groups: frozenset[str] | None,
) -> list[Match]:
    """Compare a few files exactly; those that are gone or changed keep their estimate."""
    there = [m for m in matches if collection.is_there(m.entry)]
    kernels: list[dict[str, float]] = [{} for _ in there]
    for layer in layers([path, *(collection.place(m.entry) for m in there)]):
        if layer.members[0] != 0 or (groups is not None and layer.group not in groups):
            continue
        row = similarities(layer.spectra, first=1)[0]  # (n,)
        for place, value in zip(layer.members[1:], row[1:], strict=True):
            kernels[place - 1][layer.key] = float(value)
    exact = {
        id(match): _exact_match(collection, prepared, match, kernel)
        for match, kernel in zip(there, kernels, strict=True)
    }
    return [exact.get(id(match), match) for match in matches]


def _exact_match(
    collection: Collection, prepared: Search, match: Match, kernel: dict[str, float]
) -> Match:
    member = collection.member(match.entry)
    side = prepared.side(member)
    if side is None or not kernel:
        return match
    keys = [member.sketch.keys[row] for row in side.theirs]
    exact = np.array([kernel.get(key, 0.0) for key in keys])  # (l,)
    raw = float(exact.mean())
    if not side.is_centred:
        return replace(match, similarity=raw, raw=raw, is_exact=True)
    values = _rows(member.sketch, side.theirs)
    mine = (side.query * side.mean).sum(axis=1) / 2  # (l,): kernel with the family's mean
    theirs = (values * side.mean).sum(axis=1) / 2
    own = (side.mean**2).sum(axis=1) / 2
    numerator = float((exact - mine - theirs + own).sum())
    lengths = float((1 - 2 * mine + own).sum()) * float((1 - 2 * theirs + own).sum())
    similarity = numerator / lengths**0.5 if lengths > 0 else 0.0
    return replace(match, similarity=similarity, raw=raw, is_exact=True)
