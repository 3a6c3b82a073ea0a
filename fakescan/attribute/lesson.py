"""What one task is learnt from: views of new images, and exemplars of old classes.

Shapes: n views, B views of a batch, F0 frozen features, F1 features of one task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.model.detector import Trunk
from fakescan.train.trunk import Maker, Rows
from fakescan.train.trunks import Draw, Trunks

CHUNK = 16
"""Views whose features are computed together."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Views by number: those of images first, then exemplars whose tokens are stored."""

    maker: Maker
    trunks: Trunks
    draws: Sequence[Draw]
    """Views that come from files."""
    labels: NDArray[np.int_]
    """Class of every view, (n,)."""
    held_out: NDArray[np.bool_]
    """Views that adapters never see, (n,)."""
    is_plain: NDArray[np.bool_]
    """Views that a scan would cut, (n,): what may become an exemplar."""
    stored: Rows | None = None
    before: NDArray[np.float32] | None = None
    """E of every view under the extractors so far, where that is known, (n, F)."""

    def __len__(self) -> int:
        return len(self.labels)

    def stream(self, batches: Sequence[Sequence[int]]) -> Iterator[Trunk]:
        """One trunk for every batch of views; within a batch they must rise."""
        files = [[self.draws[i] for i in batch if i < len(self.draws)] for batch in batches]
        from_files = self.trunks.stream([draws for draws in files if draws])
        for batch, draws in zip(batches, files, strict=True):
            parts = [next(from_files)] if draws else []
            kept = [i - len(self.draws) for i in batch if i >= len(self.draws)]
            if kept:
                parts.append(self.maker.trunk(rows_at(self.stored, kept, self.maker.device)))
            yield parts[0] if len(parts) == 1 else joined(parts)

    def frozen(self) -> NDArray[np.float32]:
        """What the frozen backbone gives for every view, (n, F0 + F1)."""
        parts = [self.trunks.features(self.draws)] if self.draws else []
        if self.stored is not None:
            parts.append(self.stored.features.cpu().numpy())
        return np.concatenate(parts)

    def batches(self) -> list[list[int]]:
        """All views in order."""
        return [list(range(i, min(i + CHUNK, len(self)))) for i in range(0, len(self), CHUNK)]

    def read_rows(self, draws: Sequence[Draw]) -> Rows:
        """Trunk rows of views from files, on the processor, as a memory stores them."""
        chunks = [draws[i : i + CHUNK] for i in range(0, len(draws), CHUNK)]
        parts = []
        for chunk, trunk in zip(chunks, self.trunks.stream(chunks), strict=True):
            tokens, normed = (None if x is None else x.half().cpu() for x in trunk[:2])
            parts.append(Rows(tokens, normed, torch.from_numpy(self.trunks.features(chunk))))
        return merged(parts)


def rows_at(rows: Rows | None, places: Sequence[int], device: torch.device | None = None) -> Rows:
    """Some rows of stored ones."""
    if rows is None:
        raise ValueError("no rows are stored")
    at = torch.as_tensor(places)
    picked = [None if part is None else part[at].to(device or part.device) for part in rows]
    assert picked[2] is not None
    return Rows(picked[0], picked[1], picked[2])


def joined(trunks: Sequence[Trunk]) -> Trunk:
    """Several batches as one."""
    tokens = [t.tokens for t in trunks if t.tokens is not None]
    normed = [t.normed for t in trunks if t.normed is not None]
    return Trunk(
        torch.cat(tokens) if tokens else None,
        torch.cat(normed) if normed else None,
        torch.cat([t.levels for t in trunks]),
    )


def merged(parts: Sequence[Rows]) -> Rows:
    """Rows one after another, on the processor."""

    def cat(values: list[torch.Tensor | None]) -> torch.Tensor | None:
        present = [value.cpu() for value in values if value is not None]
        return torch.cat(present) if present else None

    features = cat([part.features for part in parts])
    assert features is not None
    return Rows(cat([p.tokens for p in parts]), cat([p.normed for p in parts]), features)
