"""A benchmark's result as text: a table for eyes, Markdown to paste, or JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fakescan.bench.run import Bench

VERSION = 1
"""Grows when a reader of an older result could misunderstand a newer one."""
DIGITS = 9
"""Decimals of seconds and ratios in JSON."""


def table_text(bench: Bench) -> str:
    """Columns for a terminal."""
    rates = [f"{name:<16}{rate:>11}  {note}" for name, rate, note in _rates(bench)]
    shares = [f"{name:<38}{ms:>8}{share:>7}" for name, ms, share in _shares(bench)]
    others = [f"{name:<16}{value}" for name, value in _others(bench)]
    sections = (
        _conditions(bench),
        [f"{'':<16}{'images/s':>11}", *rates],
        [f"{'one image of the scan':<38}{'ms':>8}", *shares],
        others,
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def markdown_text(bench: Bench) -> str:
    """Tables for a page or an issue."""
    lines = [
        *(f"- {line}" for line in _conditions(bench)),
        *(f"- {name}: {value}" for name, value in _others(bench)),
        "\n| | images/s | |\n|---|---:|---|",
        *(f"| {name} | {rate} | {note} |" for name, rate, note in _rates(bench)),
        "\n| one image of the scan | ms | share |\n|---|---:|---:|",
        *(f"| {name} | {ms} | {share} |" for name, ms, share in _shares(bench)),
    ]
    return "\n".join(lines) + "\n"


def json_text(bench: Bench) -> str:
    """Everything that was measured; seconds per image unless the key says otherwise."""
    ratio = {"ratio": bench.typical.ratio, "rounds": [_round(r) for r in bench.rounds]}
    values = {"fakescan_bench_version": VERSION, **asdict(bench), **ratio}
    return json.dumps(_rounded(values), indent=2) + "\n"


def _round(lap: Any) -> dict[str, float]:
    return {"ratio": lap.ratio, **asdict(lap)}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def _conditions(bench: Bench) -> list[str]:
    images = bench.images
    kind = "made JPEG files of" if bench.are_made else "files, median"
    left_out = f", {bench.left_out} left out as damaged" if bench.left_out else ""
    rounds = len(bench.rounds)
    return [
        f"fakescan {bench.version}, {bench.detector}, {bench.precision}, "
        f"{bench.runtime} on {bench.device}",
        bench.machine,
        f"{images.count} {kind} {images.width}x{images.height} and {images.kilobytes:.0f} kB"
        f"{left_out}; "
        f"batches of {bench.batch}, decoders: {bench.workers}; "
        f"the median of {rounds} round{'' if rounds == 1 else 's'}",
    ]


def _rates(bench: Bench) -> list[tuple[str, str, str]]:
    """Name, images a second, and what that is."""
    lap = bench.typical
    ratios = [r.ratio for r in bench.rounds]
    spread = f" ({min(ratios):.1%} to {max(ratios):.1%})" if len(ratios) > 1 else ""
    return [
        ("detector alone", _rate(lap.detector_s), "crops that are ready, to logits"),
        (
            "scan",
            _rate(lap.scan_s),
            f"files to findings, without the cache: {lap.ratio:.1%} of the detector alone{spread}",
        ),
        ("decoding alone", _rate(lap.decoding_s), "files to crops"),
    ]


def _shares(bench: Bench) -> list[tuple[str, str, str]]:
    """Where the wall-clock time of one image goes: name, milliseconds, share."""
    lap = bench.typical
    parts = [
        ("in the detector, as long as alone", lap.detector_s),
        ("in the detector, longer than alone", lap.slowed_s),
        ("waiting for a crop", lap.waiting_s),
        ("all else of the scanning process", lap.own_s),
        ("together", lap.scan_s),
    ]
    return [(name, f"{s * 1e3:.2f}", f"{s / lap.scan_s:.1%}") for name, s in parts]


def _others(bench: Bench) -> list[tuple[str, str]]:
    lap = bench.typical
    cpu = f"{lap.detector_cpu_s * 1e3:.1f} ms in the detector, "
    cpu += f"{lap.decoding_cpu_s * 1e3:.1f} ms to decode, for one image"
    start = f"{bench.load_s:.2f} s to load the detector, {lap.start_s:.2f} s to the first finding"
    memory = [
        f"{mb:.0f} MB{where}"
        for mb, where in ((bench.peak_mb, ""), (bench.decoder_mb, " in each decoder"))
        if mb is not None
    ]
    others = [("processor time", cpu), ("start", start)]
    return [*others, ("peak memory", ", ".join(memory))] if memory else others


def _rate(seconds: float) -> str:
    rate = 1 / seconds
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2f}"
