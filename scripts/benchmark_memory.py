#!/usr/bin/env python3
"""Measure the peak memory of scans of few files and of many; memory must not grow with them.

    python scripts/benchmark_memory.py [--few 1000] [--many 100000] [--format csv --format html]

prints a Markdown table: for each format the peak of the scanning process and of its largest
decoder, and how much higher they are with many files. Every scan is a fresh process with a fresh
cache; the last two take the scores from the cache, and do without one. The detector is a random
tower of two blocks and 16 pixels, so that scans of 100,000 files end; the files are small, all
different, half of them in one folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tiny_detector import PX, write_detector

from fakescan import machine
from fakescan.bench.clock import children_peak_mb

FORMATS = {"csv": "csv", "json": "json", "jsonl": "jsonl", "sarif": "sarif", "html": "html",
           "junit": "xml"}  # fmt: skip
"""Suffixes by format."""
BROKEN_EVERY = 10
"""Files that cannot be decoded: SARIF keeps them to the end."""
PER_FOLDER = 1000
OLD_S = 1e9
"""A time of change that nothing takes for fresh."""
POLL_S = 0.05
RUN = """
import json, sys
from fakescan.bench.clock import peak_mb
from fakescan.cli import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as stream:
    json.dump({"code": code, "peak_mb": peak_mb(), "has_torch": "torch" in sys.modules}, stream)
"""
"""`python -m fakescan`, and what it took at its end."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Memory of one scan, 10^6 bytes, and its time."""

    scan_mb: float
    decoder_mb: float
    seconds: float


def main() -> None:
    """Parse options, scan, print."""
    options = _parse()
    formats = options.format or list(FORMATS)
    print(f"{machine.description()}\n")
    few, many = f"{options.few:,}", f"{options.many:,}"
    print(f"| output | {few} files | {many} files | more | decoder | more | {many} take |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        model = write_detector(top / "tiny.onnx")
        folders = [make_files(top / f"{n}", n) for n in (options.few, options.many)]
        for format_ in formats:
            _compare(f"`.{FORMATS[format_]}`", format_, model, folders)
        _compare("`.csv`, all scores known", "csv", model, folders, times=2)
        _compare("`.csv`, `--no-cache`", "csv", model, folders, more=["--no-cache"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--format", choices=FORMATS, action="append", help="all if not given")
    return parser.parse_args()


def make_files(folder: Path, count: int) -> Path:
    """Write so many small images, all different, some of them damaged."""
    for i in range(count):
        place = "flat" if i % 2 else f"{i // PER_FOLDER:03}"
        path = folder / place / f"an-image-{i:06}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (PX, PX), (i & 255, i >> 8 & 255, i >> 16 & 255)).save(path)
        if i % BROKEN_EVERY == 0:
            path.write_bytes(path.read_bytes()[:60])
        os.utime(path, (OLD_S, OLD_S))
    return folder


def _compare(
    name: str,
    format_: str,
    model: Path,
    folders: Sequence[Path],
    *,
    times: int = 1,
    more: Sequence[str] = (),
) -> None:
    peaks = []
    for folder in folders:
        with tempfile.TemporaryDirectory() as work:
            command = [str(folder), "--model", str(model), "-q", *more]
            command += ["-o", str(Path(work, f"report.{FORMATS[format_]}"))]
            for _ in range(times):
                peak = _scan(command, Path(work))
        peaks.append(peak)
    few, many = peaks
    cells = (
        name,
        f"{few.scan_mb:.0f} MB",
        f"{many.scan_mb:.0f} MB",
        f"{many.scan_mb - few.scan_mb:+.0f} MB",
        f"{many.decoder_mb:.0f} MB",
        f"{many.decoder_mb - few.decoder_mb:+.0f} MB",
        f"{many.seconds:.0f} s",
    )
    print(f"| {' | '.join(cells)} |", flush=True)


def _scan(command: Sequence[str], work: Path) -> Peak:
    told = work / "told.json"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(told), "scan", *command],
        env={**os.environ, "FAKESCAN_CACHE_DIR": str(work / "cache")},
    )
    decoder_mb = 0.0
    while process.poll() is None:
        decoder_mb = max(decoder_mb, children_peak_mb(str(process.pid)) or 0.0)
        time.sleep(POLL_S)
    seconds = time.perf_counter() - start
    values = json.loads(told.read_text(encoding="utf-8"))
    if values["code"] or values["has_torch"]:
        sys.exit(f"the scan failed: {values}")
    return Peak(values["peak_mb"], decoder_mb, seconds)


if __name__ == "__main__":
    main()
