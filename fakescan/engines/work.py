"""What Ray's processes do for a scan: read and decode in tasks, score in actors.

Rows travel as columns of an Arrow table. What is no plain value is pickled, since both ends are
this program; bytes of images are never unpickled.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fakescan.errors import ImageError
from fakescan.places.access import Access
from fakescan.records import Summary, mean_logits
from fakescan.scan.cache import Stamp
from fakescan.scan.crop import Crop
from fakescan.scan.decode import Children
from fakescan.scan.fetch import fetched
from fakescan.scan.pipeline import decoded
from fakescan.scan.recall import Visit
from fakescan.scan.remote import RemoteFile
from fakescan.scan.worker import Job
from fakescan.session import Arithmetic, OnnxSession

NO_PIXELS = np.empty((0, 0, 0, 3), np.uint8)
TODO, DONE = "todo", "done"
"""The only columns: pickled visits and what became of them."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What every image is read and decoded with."""

    job: Job
    access: Access
    max_bytes: float
    """An object above that is not read."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one visit."""

    path: str
    stamp: Stamp | None
    """Of the file before it was read, of an object as it was read."""
    crop: Crop | None = None
    """Without pixels once it is scored."""
    error: ImageError | None = None
    logits: tuple[float, ...] = ()
    """Of the crop, unperturbed first."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object that turned out to be none to scan."""

    reason: str


def table_of(column: str, values: Iterable[object]) -> Any:
    """An Arrow table of one column, a row for each value."""
    import pyarrow

    data = [pickle.dumps(value, protocol=5) for value in values]
    return pyarrow.table({column: pyarrow.array(data, pyarrow.large_binary())})


def values_of(column: str, table: Any) -> list[Any]:
    """The values of `table_of`."""
    return [pickle.loads(value.as_buffer()) for value in table.column(column)]


def decode_table(table: Any, orders: Orders) -> Any:
    """Read and decode what visits name; what cannot be scored is done, with the reason."""
    return table_of(DONE, _decoded(values_of(TODO, table), orders))


def _decoded(visits: Iterable[Visit], orders: Orders) -> Iterator[Done | LeftOut]:
    skipped = Summary().skipped
    read = fetched(visits, lambda visit: visit.remote, orders.access, skipped, orders.max_bytes)
    for item in decoded(iter(read), _children(orders.job), 1, 2):
        visit, error = item.item, item.error
        stamp = visit.source.stamp if isinstance(visit.source, RemoteFile) else visit.stamp
        yield Done(visit.path, stamp, item.pixels, error)
    yield from map(LeftOut, skipped.elements())


class ScoreTable:
    """An actor that holds the detector."""

    def __init__(
        self, model: list[Any], device: Literal["cpu", "cuda"], arithmetic: Arithmetic
    ) -> None:
        """Load the detector, whose file need not be on this machine.

        Args:
            model: a reference to its bytes. It is asked for here, so that an actor that is started
                again finds it, too.
            device: where it runs.
            arithmetic: what the driver scores in.
        """
        import ray

        with tempfile.TemporaryDirectory(prefix="fakescan-detector-") as folder:
            path = Path(folder) / "detector.onnx"
            path.write_bytes(ray.get(model[0]))
            self._session = OnnxSession(path, device=device, arithmetic=arithmetic)

    def __call__(self, table: Any) -> Any:
        """Put logits in place of pixels."""
        rows: list[Done | LeftOut] = values_of(DONE, table)
        crops = [row.crop for row in rows if isinstance(row, Done) and row.crop is not None]
        looks = [look for crop in crops for look in crop.looks.values()]
        logits = iter(mean_logits(self._session, looks).tolist())
        return table_of(DONE, [_scored(row, logits) for row in rows])


def _scored(row: Done | LeftOut, logits: Iterator[float]) -> Done | LeftOut:
    if isinstance(row, LeftOut) or row.crop is None:
        return row
    crop = row.crop
    bare = replace(crop, pixels=NO_PIXELS, perturbed=dict.fromkeys(crop.perturbed, NO_PIXELS))
    return replace(row, crop=bare, logits=tuple(next(logits) for _ in crop.looks))


@lru_cache(maxsize=1)
def _children(job: Job) -> Children:
    """This process's decoder, which stays between blocks and ends with the process."""
    return Children(job)
