"""Scores that were computed before, in one SQLite file that every scan of a user shares.

    scorers   what gives scores: detector, preprocessing, perturbation (or none) and device
    scores    content (sha256 of a file) and scorer -> logit, and what a report says of the image
    files     path or URI, size and mtime_ns -> content, so that an unchanged file is not even read

Logits are kept, not verdicts, so that thresholds may change. Errors are not kept: a file that
cannot be scored may be mended, or become readable, without a trace in its bytes.
"""

# Strings, as the walk gives them: a Path per file would cost more than the look-up.
# ruff: noqa: PTH100

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fakescan import weights
from fakescan.errors import CacheError
from fakescan.perturb import PLAIN
from fakescan.places.uri import is_uri
from fakescan.provenance.signal import READER
from fakescan.scan.database import open_database, reasons, transaction

NAME = "scores.sqlite"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """What a score depends on besides the file."""

    name: str
    """Of the detector, for people."""
    detector: str
    """The sha256 of the detector's file."""
    preprocessing: str
    """How a file becomes pixels, as text."""
    device: str
    """`cpu` or `cuda`, which differ in the fourth digit, and the fast form, where it is used."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What shows, without reading it, that a file is still the same."""

    size: int
    mtime_ns: int
    """Of an object in a store, which has none: a number that its ETag decides."""


@dataclass(frozen=True, slots=True)
class Known:
    """The score of one content, and what a report says of it besides."""

    sha256: str
    logit: float
    width: int
    height: int
    format: str | None
    provenance: str | None = None
    """What a brief look at the file's metadata found, as `fakescan.provenance.signal.to_text`
    has it; None when this version of the reader has not looked yet."""
    perturbed: Mapping[str, float] = field(default_factory=dict)
    """Logits of the image after perturbations, by their names."""
    thumbnail: None = None
    """Not kept: see `fakescan.scan.recall`."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a cache holds."""

    bytes: int
    """Size on disk."""
    files: int
    scores: Mapping[str, int]
    """By detector: name and the first 12 hex digits of its sha256."""


class ScoreCache:
    """The cache as one scorer sees it; any number of scans may use the same file at once."""

    def __init__(self, path: Path, scorer: Scorer) -> None:
        """Open the file, or make it.

        Raises:
            CacheError: it cannot be used, with the reason.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise CacheError(f"{path.parent}: the cache cannot be made ({e.strerror})") from e
        self._db = open_database(path)
        try:
            with reasons(path):
                self._scorer = scorer
                self._numbers = {PLAIN: self._number_of(PLAIN)}
        except CacheError:
            self._db.close()
            raise

    def __enter__(self) -> ScoreCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def unchanged(
        self, files: Mapping[str, Stamp], perturbations: Collection[str] = ()
    ) -> dict[str, Known]:
        """Scores of those files that still look as they did.

        Args:
            files: what they look like now.
            perturbations: whose logits are wanted, too; those that are not known are left out.

        Raises:
            CacheError: the cache cannot be read.
        """
        keys = {_key(path): path for path in files}
        query = (
            "SELECT path, size, mtime_ns, content, logit, width, height, format, "
            "CASE reader WHEN ? THEN provenance END "
            f"FROM files JOIN scores USING (content) WHERE scorer = ? AND path IN ({_marks(keys)})"
        )
        with reasons(self.path):
            rows = self._db.execute(query, (READER, self._numbers[PLAIN], *keys)).fetchall()
        known = {
            keys[path]: Known(content.hex(), *values)
            for path, size, mtime_ns, content, *values in rows
            if files[keys[path]] == Stamp(size, mtime_ns)
        }
        return self._with_perturbed(known, perturbations) if perturbations else known

    def logits(
        self, contents: Collection[str], perturbations: Collection[str] = (PLAIN,)
    ) -> dict[tuple[str, str], float]:
        """Logits that are known, by sha256 of the content and perturbation.

        Raises:
            CacheError: the cache cannot be read.
        """
        with reasons(self.path):
            names = {self._number(name): name for name in perturbations}
            query = (
                "SELECT content, scorer, logit FROM scores "
                f"WHERE content IN ({_marks(contents)}) AND scorer IN ({_marks(names)})"
            )
            rows = self._db.execute(query, (*map(bytes.fromhex, contents), *names))
            return {(content.hex(), names[number]): logit for content, number, logit in rows}

    def remember(self, scores: Iterable[Known], files: Mapping[str, tuple[Stamp, str]]) -> None:
        """Keep scores, and which files have which content, before anything else happens.

        A provenance that is known stays where nobody looked this time.

        Args:
            scores: of this scorer.
            files: stamp and sha256 by path.

        Raises:
            CacheError: the cache cannot be written.
        """
        met = [
            (_key(path), stamp.size, stamp.mtime_ns, bytes.fromhex(sha256))
            for path, (stamp, sha256) in files.items()
        ]
        with reasons(self.path):
            scored = [row for known in scores for row in self._rows(known)]
            with transaction(self._db):
                self._db.executemany(
                    "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "logit = excluded.logit, width = excluded.width, height = excluded.height, "
                    "format = excluded.format, "
                    "provenance = coalesce(excluded.provenance, provenance), "
                    "reader = coalesce(excluded.reader, reader)",
                    scored,
                )
                self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", met)

    def _with_perturbed(
        self, known: Mapping[str, Known], perturbations: Collection[str]
    ) -> dict[str, Known]:
        logits = self.logits({k.sha256 for k in known.values()}, perturbations)
        return {
            path: replace(
                k,
                perturbed={
                    name: logits[k.sha256, name]
                    for name in perturbations
                    if (k.sha256, name) in logits
                },
            )
            for path, k in known.items()
        }

    def _rows(self, known: Known) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a content: what is said of its origin stands beside its plain score."""
        content = bytes.fromhex(known.sha256)
        image = (known.width, known.height, known.format)
        reader = None if known.provenance is None else READER
        yield (content, self._number(PLAIN), known.logit, *image, known.provenance, reader)
        for name, logit in known.perturbed.items():
            yield (content, self._number(name), logit, *image, None, None)

    def _number(self, perturbation: str) -> int:
        if perturbation not in self._numbers:
            self._numbers[perturbation] = self._number_of(perturbation)
        return self._numbers[perturbation]

    def _number_of(self, perturbation: str) -> int:
        scorer = self._scorer
        key = (scorer.detector, scorer.preprocessing, perturbation, scorer.device)
        find = (
            "SELECT id FROM scorers WHERE "
            "(detector, preprocessing, perturbation, device) = (?, ?, ?, ?)"
        )
        found = self._db.execute(find, key).fetchone()
        if found is None:
            with transaction(self._db):  # another scan may have been faster
                self._db.execute(
                    "INSERT OR IGNORE INTO scorers VALUES (NULL, ?, ?, ?, ?, ?)",
                    (scorer.name, *key),
                )
            found = self._db.execute(find, key).fetchone()
        return int(found[0])


def default_path() -> Path:
    """Where the cache lies: in fakescan's folder for caches."""
    return weights.cache_folder() / NAME


def contents_of(path: Path) -> Contents:
    """What a cache holds; nothing when there is none yet.

    Raises:
        CacheError: it cannot be read.
    """
    if not path.exists():
        return Contents(0, 0, {})
    size = _size_of(path)  # before the log is worked in, which shrinks it
    with closing(open_database(path)) as db, reasons(path):
        (files,) = db.execute("SELECT count(*) FROM files").fetchone()
        scores = db.execute(
            "SELECT name || '@' || substr(detector, 1, 12), count(*) FROM scores "
            "JOIN scorers ON id = scorer GROUP BY 1 ORDER BY 1"
        )
        return Contents(size, files, dict(scores.fetchall()))


def clear(path: Path) -> int:
    """Remove a cache, whatever state it is in; gives the bytes that it took.

    Raises:
        CacheError: it cannot be removed.
    """
    size = _size_of(path)
    try:
        for file in reversed(_files(path)):  # a log must never outlive what it belongs to
            file.unlink(missing_ok=True)
    except OSError as e:
        raise CacheError(f"{path}: cannot be removed ({e.strerror})") from e
    return size


def _files(path: Path) -> tuple[Path, ...]:
    """The database and what SQLite keeps beside it."""
    return path, path.with_name(f"{path.name}-shm"), path.with_name(f"{path.name}-wal")


def _size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path) if file.exists())


def _key(path: str) -> bytes:
    return os.fsencode(path if is_uri(path) else os.path.abspath(path))


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
