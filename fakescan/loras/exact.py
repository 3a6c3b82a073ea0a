"""The updates of many files, layer by layer, within a bound of memory.

Files are read again, a few layers at a time: their factors do not lie in the index.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from fakescan.loras.adapter import Adapter
from fakescan.loras.describe import module_key, read_file
from fakescan.loras.read import LoraFile
from fakescan.loras.spectrum import Spectrum
from fakescan.loras.update import updates

HELD_BYTES = 400_000_000
"""Of factors, as float32, that are held at once."""


Found = dict[str, tuple[str, list[int], list[Spectrum]]]
"""By key: group, places of files, and what each does."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, and what each file that has it does to it."""

    key: str
    """Canonical name and shape."""
    group: str
    members: tuple[int, ...]
    """Places of those files."""
    spectra: tuple[Spectrum, ...]


def layers(paths: Sequence[Path]) -> Iterator[Layer]:
    """Yield every layer that any of the files changes.

    Args:
        paths: of N files.

    Raises:
        LoraError: a file cannot be used.
    """
    for names in _batches(paths):
        found: Found = {}
        with threadpool_limits(1):  # many small products: more threads only wait for each other
            for place, path in enumerate(paths):
                _read(path, place, names, found)
        for key, (group, members, spectra) in found.items():
            yield Layer(key, group, tuple(members), tuple(spectra))


def _read(path: Path, place: int, names: frozenset[str], found: Found) -> None:
    """Put one file's updates of some modules beside those of the others."""
    with read_file(path) as (file, adapter):
        wanted = tuple(m for m in adapter.modules if m.name in names)
        for update in updates(file, replace(adapter, modules=wanted)):
            if update.spectrum is not None:
                key = module_key(update.name, update.shape)
                _, members, spectra = found.setdefault(key, (update.group.value, [], []))
                members.append(place)
                spectra.append(update.spectrum)


def _batches(paths: Sequence[Path]) -> Iterator[frozenset[str]]:
    """Names of modules that are read together."""
    sizes: dict[str, int] = {}
    for path in paths:
        with read_file(path) as (file, adapter):
            for name, size in _sizes(file, adapter):
                sizes[name] = sizes.get(name, 0) + size
    batch: list[str] = []
    held = 0
    for name in sorted(sizes):
        if batch and held + sizes[name] > HELD_BYTES:
            yield frozenset(batch)
            batch, held = [], 0
        batch.append(name)
        held += sizes[name]
    if batch:
        yield frozenset(batch)


def _sizes(file: LoraFile, adapter: Adapter) -> Iterator[tuple[str, int]]:
    """Canonical name and bytes, as float32, of each module."""
    for module in adapter.modules:
        slots = [file.header.tensors[name] for name in module.tensors.values()]
        yield module.name, sum(math.prod(slot.shape) for slot in slots) * 4
