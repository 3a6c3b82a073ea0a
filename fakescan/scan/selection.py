"""Which of the files that are met in a folder are scanned. What is named is always scanned."""

from __future__ import annotations

from dataclasses import dataclass

from fakescan.errors import ConfigError
from fakescan.scan.ignore import compiled

EXCLUDED = "excluded by a pattern"
NOT_INCLUDED = "not included by a pattern"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What a walk takes of the files that it meets."""

    include: tuple[str, ...] = ()
    """Patterns as in .gitignore, from the folder that is named; files that match none are left
    out. Empty: all files."""
    exclude: tuple[str, ...] = ()
    """Patterns as in .gitignore, from the folder that is named; files and folders that match are
    left out, included or not."""
    ignore_files: bool = True
    """Whether `.fakescanignore` files count."""
    hidden: bool = False
    """Whether files and folders with a name that begins with a dot are taken."""
    follow_symlinks: bool = False
    """Whether links are followed to folders, and to files outside the folder that is named."""
    max_depth: int | None = None
    """Levels of folders: 1 takes the files directly in the folder that is named."""
    max_filesize: float | None = None
    """Megabytes (10^6 bytes) above which a file is not opened."""
    archives: bool = False
    """Whether archives are taken, for their members."""
    leave_out: str | None = None
    """A folder that is never entered: where a scan puts images."""

    def __post_init__(self) -> None:
        for name in ("max_depth", "max_filesize"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: must be positive, got {value}")
        Choice(self)

    @property
    def max_bytes(self) -> float:
        """`max_filesize` in bytes."""
        return float("inf") if self.max_filesize is None else self.max_filesize * 1e6


class Choice:
    """The patterns of a selection, compiled."""

    def __init__(self, selection: Selection) -> None:
        """Compile them.

        Raises:
            ConfigError: one of them is no gitignore pattern.
        """
        self._include = compiled(selection.include, "include")
        self._exclude = compiled(selection.exclude, "exclude")

    def reason(self, below: str) -> str | None:
        """Why a path is left out, if it is.

        Args:
            below: path below the folder or archive that is named, with `/`; a folder's ends with
                one.
        """
        if self._exclude and self._exclude.covers(below):
            return EXCLUDED
        is_file = not below.endswith("/")
        if is_file and self._include and not self._include.covers(below):
            return NOT_INCLUDED
        return None
