"""Tar shards as training data: listed once, indexed by all processes, and the index kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fakescan.data.samples import Sample
from fakescan.data.shards import Image, Shard, base_of, find_shards, index_shard, samples_of
from fakescan.train.parallel import Processes

READERS = 8
"""Shards that a process reads at once."""
VERSION = 1
"""Grows when an index is made otherwise."""
Report = Callable[[int, int], None]


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIndexer:
    """Finds the images of shards, each process those of its share."""

    processes: Processes = field(default_factory=Processes)
    folder: Path | None = None
    """Where indexes are kept, by shard and tag; None keeps none."""
    report: Report = silent
    """Told how many of this process's shards are done, of how many."""

    def samples(self, roots: Sequence[str]) -> list[Sample]:
        """Samples of one or more roots in one folder, the same in all processes.

        Raises:
            DatasetError: a shard is missing or damaged, or an image has no label.
        """
        shards = self.processes.from_first(
            lambda: list(dict.fromkeys(shard for root in roots for shard in find_shards(root)))
        )
        share = self.processes.part_of(shards)
        parts = self.processes.together(lambda: list(self._indexed(share)))
        found = [images for part in parts for images in part]
        return samples_of(list(zip(shards, found, strict=True)), base_of(roots[0]))

    def _indexed(self, shards: Sequence[Shard]) -> Iterator[list[Image]]:
        with ThreadPoolExecutor(READERS, thread_name_prefix="index") as pool:
            coming = [pool.submit(self._index, shard) for shard in shards]
            try:
                for done, images in enumerate(coming, 1):
                    yield images.result()
                    self.report(done, len(shards))
            finally:
                pool.shutdown(cancel_futures=True)

    def _index(self, shard: Shard) -> list[Image]:
        path = self._path(shard)
        if path is not None:
            with suppress(OSError, ValueError, TypeError, KeyError):  # it is made again
                return [Image(**image) for image in json.loads(path.read_text(encoding="utf-8"))]
        images = index_shard(shard)
        if path is not None:
            with suppress(OSError):  # the trunk cache says why, if it is to be written
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(json.dumps([asdict(i) for i in images]), encoding="utf-8")
                partial.replace(path)
        return images

    def _path(self, shard: Shard) -> Path | None:
        if self.folder is None or not shard.tag:
            return None
        text = json.dumps([VERSION, shard.place, shard.tag])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
