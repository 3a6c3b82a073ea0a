"""An index as its readers see it: files, their sketches, and the means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fakescan.errors import ConfigError
from fakescan.loras.canonical import Group
from fakescan.loras.index import Contents, Entry, read_contents, sketch_path
from fakescan.loras.means import Rows, read_means
from fakescan.loras.read import Stamp
from fakescan.loras.store import Sketch, read_sketch

MIN_CENTRED = 8
"""Files of a family from which their mean says more than it hides."""
MIN_COVERAGE = 0.25
"""Share of modules that two files must have in common to be compared."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file with its sketch."""

    entry: Entry
    sketch: Sketch

    @property
    def path(self) -> str:
        """Below the indexed folder."""
        return self.entry.path

    @property
    def family(self) -> str:
        """Base model that it was made for."""
        return self.sketch.summary.family


class Collection:
    """All files of an index; sketches stay on disk until they are looked at."""

    def __init__(self, index: Path) -> None:
        """Open an index.

        Raises:
            LoraIndexError: it cannot be used.
        """
        self.index = index
        self.contents: Contents = read_contents(index)

    def __len__(self) -> int:
        return len(self.contents.entries)

    def member(self, entry: Entry) -> Member:
        """A file with its sketch, mapped.

        Raises:
            LoraIndexError: the sketch is damaged or gone.
        """
        return Member(entry, read_sketch(sketch_path(self.index, entry.sha256)))

    def members(self, family: str | None = None) -> list[Member]:
        """All files, or those of one family.

        Raises:
            LoraIndexError: a sketch is damaged or gone.
        """
        found = [self.member(entry) for entry in self.contents.entries]
        return found if family is None else [m for m in found if m.family == family]

    def means(self, family: str) -> Rows:
        """The mean sketch of a family; empty when it is too small to have one taken away."""
        rows, count = read_means(self.index, family)
        return rows if count >= MIN_CENTRED else {}

    def place(self, entry: Entry) -> Path:
        """Where the file itself should be."""
        return self.contents.root / entry.path

    def is_there(self, entry: Entry) -> bool:
        """True when the file looks as it did when it was indexed."""
        try:
            status = self.place(entry).stat()
        except OSError:
            return False
        return Stamp(status.st_size, status.st_mtime_ns) == Stamp(entry.size, entry.mtime_ns)


def chosen_groups(names: Sequence[str]) -> frozenset[str] | None:
    """Groups of modules by their names; None for all.

    Raises:
        ConfigError: a name that is none, with those that are.
    """
    known = {group.value for group in Group}
    for name in names:
        if name not in known:
            raise ConfigError(f"--modules {name}: no such group; known: {', '.join(sorted(known))}")
    return frozenset(names) or None


def one_family(members: Sequence[Member], wanted: str | None) -> str:
    """The family that is meant: the only one, or the one that is named.

    Raises:
        ConfigError: no files, several families, or none of that name.
    """
    families = sorted({m.family for m in members})
    if not families:
        raise ConfigError("the index holds none of the files that are to be compared")
    if wanted is not None:
        if wanted not in families:
            raise ConfigError(f"--family {wanted}: the index has {', '.join(families)}")
        return wanted
    if len(families) > 1:
        raise ConfigError(
            f"files for several base models ({', '.join(families)}); choose one with --family"
        )
    return families[0]
