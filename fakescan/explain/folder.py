"""Where the figures of a report lie: a folder beside it, a PNG for each image.

`report.html` gets `report.html.explain/`. A file's name is made of the image's name and a hash of
its path and its small picture, so that a second scan writes the same files again, and members of
an archive that share a path do not share a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from fakescan.errors import ConfigError
from fakescan.records import Finding

SUFFIX = ".explain"
IGNORE_FILE, IGNORE_ALL = ".fakescanignore", "# figures of a report, no images to scan\n*\n"
NAME_LETTERS = 40
"""Of the image's name that stay in the file's."""
HASH_LETTERS = 16
ODD = re.compile(r"[^A-Za-z0-9_-]+")


class FigureFolder:
    """Takes figures out of findings as they pass, and puts a link in their place.

    It is made with the first figure. When a figure cannot be written there are no more of them,
    and the scan goes on: scores matter more.
    """

    def __init__(self, report: Path) -> None:
        """Fix the place.

        Args:
            report: the page that will show the links.

        Raises:
            ConfigError: something else has the folder's name.
        """
        self._folder = report.with_name(report.name + SUFFIX)
        if os.path.lexists(self._folder) and not self._folder.is_dir():
            raise ConfigError(f"{self._folder}: not a folder; --explain puts its figures there")
        self._is_made = self._is_broken = False

    def stored(self, findings: Iterable[Finding], warnings: list[str]) -> Iterator[Finding]:
        """Pass findings on, with `figure_link` in place of `figure`.

        Args:
            findings: of a scan.
            warnings: takes a line when figures cannot be written.
        """
        for finding in findings:
            link = None
            if finding.figure is not None and not self._is_broken:
                try:
                    link = self._store(finding, finding.figure)
                except OSError as e:
                    self._is_broken = True
                    warnings.append(f"{self._folder}: no more figures ({e.strerror})")
            yield replace(finding, figure=None, figure_link=link)

    def _store(self, finding: Finding, figure: bytes) -> str:
        if not self._is_made:
            self._folder.mkdir(exist_ok=True)
            (self._folder / IGNORE_FILE).write_text(IGNORE_ALL, encoding="utf-8")
            self._is_made = True
        path = self._folder / _name(finding)
        try:
            path.write_bytes(figure)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        return f"{quote(os.fsencode(self._folder.name))}/{path.name}"


def _name(finding: Finding) -> str:
    stem = ODD.sub("-", PurePosixPath(finding.path).stem)[:NAME_LETTERS].strip("-")
    identity = os.fsencode(finding.path) + b"\0" + (finding.thumbnail or b"")
    digest = hashlib.sha256(identity).hexdigest()[:HASH_LETTERS]
    return f"{stem or 'image'}-{digest}.png"
