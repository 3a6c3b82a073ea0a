"""Report files, on this machine and in stores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fakescan.cli.output import SUFFIXES, FileOutput, Output
from fakescan.errors import ConfigError, OutputError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import check_folder, store_of
from fakescan.places.uri import WEB, is_uri, scheme_of, shown


class StoreOutput(Output):
    """A report in a store: written on this machine, and stored when it is finished.

    So it has its name when it is whole, and a store that fails at the end costs no report.
    """

    def __init__(self, uri: str, format_: str, access: Access) -> None:
        """Open the file that it grows in.

        Raises:
            OutputError: that cannot be written.
        """
        self._uri = uri
        self._access = access
        self._folder = Path(tempfile.mkdtemp(prefix="fakescan-report-"))
        self._file = self._folder / PurePosixPath(uri).name
        self._inner = FileOutput(self._file, format_)
        self._is_needed = False
        super().__init__(format_, self._inner.write)

    def keep(self) -> None:
        """Store the report.

        Raises:
            OutputError: the store does not take it; names the file where it is kept instead.
        """
        self._inner.keep()
        try:
            store_of(self._uri, self._access).put(self._file, self._uri)
        except PlaceProblem as e:
            self._is_needed = True
            why = str(e).replace("to read it", "to write there")
            raise OutputError(
                f"{shown(self._uri)}: cannot be written ({why}); the report is in {self._file}"
            ) from e

    def close(self) -> None:
        """Remove the file, unless it is all that there is of a finished report."""
        if not self._is_needed:
            self._inner.close()
            self._file.unlink(missing_ok=True)
            self._folder.rmdir()


def report_output(place: str | Path, access: Access) -> Output:
    """Where a report goes.

    Args:
        place: a file or a URI.
        access: to the stores.

    Raises:
        OutputError: it cannot be written.
    """
    text = str(place)
    if is_uri(text):
        return StoreOutput(text, format_of(text), access)
    return FileOutput(Path(place), format_of(text))


def check_reports(places: Sequence[str | Path], access: Access) -> None:
    """Refuse outputs of no known format, or in stores that cannot be used, before the scan.

    Raises:
        ConfigError: naming the first without a format.
        PlaceError: naming the first in such a store.
    """
    for place in map(str, places):
        if PurePosixPath(place).suffix.lower() not in SUFFIXES:
            known = ", ".join(sorted(SUFFIXES))
            raise ConfigError(f"{shown(place)}: no report format; known: {known}")
        if is_uri(place):
            if scheme_of(place) in WEB:
                raise ConfigError(f"{shown(place)}: reports cannot be written to the web")
            check_folder(place, access)
    if len(set(map(str, places))) < len(places):
        raise ConfigError("--output: the same file twice")


def format_of(place: str | Path) -> str:
    """The format that an output's suffix says; `check_reports` has let it through."""
    return SUFFIXES[PurePosixPath(str(place)).suffix.lower()]
