"""`fakescan bench --compare`: every way to score that is installed, on the same images."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import fakescan
from fakescan import machine, runtime
from fakescan.bench.compare import Progress, Result, compare
from fakescan.bench.contenders import Make, contenders
from fakescan.bench.photos import choose_photos, make_photos
from fakescan.errors import ConfigError, FakescanError, ImageError
from fakescan.fast.ranges import photographs
from fakescan.image import open_picture, view
from fakescan.session import OnnxSession

VERSION = 1
"""Grows when a reader of an older result could misunderstand a newer one."""
DIGITS = 9
DECODING, PIPELINE = "decoding alone", "torch float32, DataLoader"
T = TypeVar("T")
More = Callable[[Path, int, Path], Iterator[tuple[str, Make]]]
"""Detector, threads and a folder for files -> names, and what makes the ways to score."""
Pipeline = Callable[[Path, int, int, list[str]], Callable[[], object]]
"""Detector, threads, workers, paths -> what decodes and scores them once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The result."""

    version: str
    """Of fakescan."""
    runtime: str
    machine: str
    detector: str
    """Its fingerprint."""
    threads: int
    images: int
    """In a round, one square each."""
    are_made: bool
    """The images were made for the benchmark."""
    left_out: tuple[str, ...]
    """Contenders that cannot take part with this detector, and why."""
    results: tuple[Result, ...]
    """The fastest first; ratios and drift are from the file as it is stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What needs more than a scan does; None where it is not installed."""

    more: More | None = None
    """Files in other precisions."""
    pipeline: Pipeline | None = None
    """The pipeline of research code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """How much is measured."""

    images: int = 8
    """In a round."""
    rounds: int = 7
    """That count."""
    threads: int | None = None
    """For one image; None takes one per core that may be used."""


def run_comparison(
    model: Path,
    targets: Sequence[str],
    turns: Turns,
    extras: Extras | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Comparison:
    """Let all contenders take turns.

    Args:
        model: file of the detector.
        targets: images and folders; without any, photographs are made.
        turns: how much to measure.
        extras: what else takes part.
        progress: called after each round.

    Raises:
        WeightsError: the detector cannot be used.
        ConfigError: no image that can be read.
    """
    extras = extras or Extras()
    cores = turns.threads or machine.usable_cores()
    session = OnnxSession(model, device="cpu", threads=cores)
    preprocess = session.metadata.preprocess
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as place:
        folder = Path(place)
        count = turns.images
        known = choose_photos(targets, count) if targets else make_photos(folder, count)
        paths = [path for path in known if _is_readable(path)]
        if not paths:
            raise ConfigError("no image to measure with")

        def decode() -> list[object]:
            return [view(open_picture(Path(path)).image, preprocess) for path in paths]

        squares = [view(open_picture(Path(path)).image, preprocess) for path in paths]
        makes = dict(contenders(model, cores, folder))
        if extras.more is not None:
            makes |= dict(extras.more(model, cores, folder))
        scores, left_out = _made(makes)
        others: dict[str, Callable[[], object]] = {DECODING: decode}
        if extras.pipeline is not None:
            ready, refused = _made({PIPELINE: partial(extras.pipeline, model, cores, cores, paths)})
            others, left_out = others | ready, left_out + refused
        found = compare(scores, others, squares, photographs(preprocess), turns.rounds, progress)
    return Comparison(
        version=fakescan.__version__,
        runtime=runtime.described(),
        machine=machine.description(),
        detector=session.fingerprint,
        threads=cores,
        images=len(paths),
        are_made=not targets,
        left_out=tuple(left_out),
        results=tuple(found),
    )


def _made(makes: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], list[str]]:
    """Contenders that can take part, and why others cannot."""
    made, left_out = dict[str, T](), list[str]()
    for name, make in makes.items():
        try:
            made[name] = make()
        except FakescanError as e:
            left_out.append(f"{name}: {e}")
    return made, left_out


def comparison_markdown(found: Comparison) -> str:
    """Conditions and a table, to paste."""
    heads = (
        "",
        "images/s",
        "times as fast",
        "ms of processor",
        "logit: largest difference",
        "mean",
    )
    lines = [*_conditions(found), "", f"| {' | '.join(heads)} |", "|---|" + "---:|" * 5]
    lines += [f"| {' | '.join(_row(result))} |" for result in found.results]
    return "\n".join(lines) + "\n"


def comparison_table(found: Comparison) -> str:
    """Columns for a terminal."""
    heads = ("", "images/s", "x stored", "cpu ms", "logit max", "mean")
    rows = [heads, *map(_row, found.results)]
    width = max(len(row[0]) for row in rows)
    lines = [f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in cells) for name, *cells in rows]
    return "\n".join([*_conditions(found), "", *lines]) + "\n"


def comparison_json(found: Comparison) -> str:
    """All that was measured; seconds per image."""
    results = [
        {
            "images_per_s": round(r.images_per_s, DIGITS),
            "ratio": round(r.ratio, DIGITS),
            **asdict(r),
        }
        for r in found.results
    ]
    values = {"fakescan_comparison_version": VERSION, **asdict(found), "results": results}
    return json.dumps(values, indent=2) + "\n"


def _conditions(found: Comparison) -> list[str]:
    kind = "made JPEG files" if found.are_made else "files"
    rounds = len(found.results[0].rounds)
    return [
        f"fakescan {found.version}, {found.detector}, {found.runtime}",
        f"{found.machine}; threads: {found.threads}",
        f"{found.images} {kind}, one square each; "
        f"the median of {rounds} round{'' if rounds == 1 else 's'}, in turns",
        *(f"left out: {reason}" for reason in found.left_out),
    ]


def _row(result: Result) -> tuple[str, ...]:
    worst, mean = (
        "" if value is None else f"{value:.2g}" for value in (result.drift_max, result.drift_mean)
    )
    cpu = f"{result.processor_ms:.1f}"
    return result.name, f"{result.images_per_s:,.2f}", f"{result.ratio:.2f}", cpu, worst, mean


def _is_readable(path: str) -> bool:
    try:
        open_picture(Path(path))
    except ImageError:
        return False
    return True
