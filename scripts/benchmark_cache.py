#!/usr/bin/env python3
"""Time a scan that knows no score, and the same scan again.

    python scripts/benchmark_cache.py --folder photos
    python scripts/benchmark_cache.py --tiny --files 20000

prints a Markdown table: seconds of the scan, files a second, how many times faster than the first
scan, how many scores were known, and the seconds of the whole process. Without --folder, small
images are made that all differ. The cache is a new one in a temporary folder. With --tiny, the
detector is that of `scripts/tiny_detector.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tiny_detector import write_detector

from fakescan import machine

CACHED = re.compile(r"^cache: (\d+) of", re.MULTILINE)
OLD_S = 1e9
"""A time of change that nothing takes for fresh."""
PER_FOLDER = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """One scan, as it was measured."""

    files: int
    cached: int
    scan_s: float
    process_s: float


def main() -> None:
    """Parse options, scan several times, print."""
    options = _parse()
    print(f"{machine.description()}\n")
    print("| scan | files | known | scan | files/s | faster | process |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as top:
        folder = options.folder or _images(Path(top, "images"), options.files)
        model = write_detector(Path(top, "tiny.onnx")) if options.tiny else options.model
        arguments = [str(folder), *(["--model", str(model)] if model else [])]
        first = _scan(arguments, Path(top))
        _print("first", first, first)
        for _ in range(options.repeat):
            _print("again", _scan(arguments, Path(top)), first)
        if options.without:
            _print("without cache", _scan([*arguments, "--no-cache"], Path(top)), first)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    detector = parser.add_mutually_exclusive_group()
    detector.add_argument("--model", help="detector; the default one if not given")
    detector.add_argument("--tiny", action="store_true", help="a tiny detector")
    parser.add_argument("--folder", type=Path, help="images; small ones are made if not given")
    parser.add_argument("--files", type=int, default=2000, help="how many to make")
    parser.add_argument("--repeat", type=int, default=2, help="scans after the first")
    parser.add_argument("--without", action="store_true", help="also a scan without the cache")
    return parser.parse_args()


def _images(folder: Path, count: int) -> Path:
    for i in range(count):
        path = folder / f"{i // PER_FOLDER:03}" / f"{i:06}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i & 255, i >> 8 & 255, i >> 16 & 255)).save(path)
        os.utime(path, (OLD_S, OLD_S))
    return folder


def _scan(arguments: Sequence[str], top: Path) -> Run:
    report = top / "report.json"
    command = [sys.executable, "-m", "fakescan", "scan", *arguments, "-o", str(report)]
    environment = {**os.environ, "FAKESCAN_CACHE_DIR": str(top / "cache")}
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - start
    if run.returncode:
        sys.exit(run.stderr)
    values = json.loads(report.read_text(encoding="utf-8"))
    cached = CACHED.search(run.stderr)
    return Run(
        files=sum(values["counts"].values()),
        cached=int(cached[1]) if cached else 0,
        scan_s=values["elapsed_s"],
        process_s=seconds,
    )


def _print(name: str, run: Run, first: Run) -> None:
    cells = (
        name,
        f"{run.files:,}",
        f"{run.cached:,}",
        f"{run.scan_s:.2f} s",
        f"{run.files / run.scan_s:,.0f}",
        f"{first.scan_s / run.scan_s:.0f}x",
        f"{run.process_s:.2f} s",
    )
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
