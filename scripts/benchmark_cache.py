#!/usr/bin/env python3
"""Time a scan that knows no score, and the same scan again.

    python scripts/benchmark_cache.py --model tiny.onnx --files 20000
    python scripts/benchmark_cache.py --folder photos

prints a Markdown table: seconds of the scan, files a second, how many scores were known, and the
seconds and the peak memory of the whole process. Without --folder, small images are made that all
differ. The cache is a new one in a temporary folder.
"""

from __future__ import annotations

import argparse
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

SUMMARY = re.compile(r"^(\d+) images: .* in ([\d.]+) s", re.MULTILINE)
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
    peak_mb: float


def main() -> None:
    """Parse options, scan several times, print."""
    options = _parse()
    print("| scan | files | known | scan | files/s | process | peak memory |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as top:
        folder = options.folder or _images(Path(top, "images"), options.files)
        arguments = [str(folder), *(["--model", options.model] if options.model else [])]
        for name in ("first", *["again"] * options.repeat):
            _print(name, _scan(arguments, Path(top)))
        _print("without cache", _scan([*arguments, "--no-cache"], Path(top)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="detector; the default one if not given")
    parser.add_argument("--folder", type=Path, help="images; small ones are made if not given")
    parser.add_argument("--files", type=int, default=2000, help="how many to make")
    parser.add_argument("--repeat", type=int, default=2, help="scans after the first")
    return parser.parse_args()


def _images(folder: Path, count: int) -> Path:
    for i in range(count):
        path = folder / f"{i // PER_FOLDER:03}" / f"{i:06}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i & 255, i >> 8 & 255, i >> 16 & 255)).save(path)
        os.utime(path, (OLD_S, OLD_S))
    return folder


def _scan(arguments: Sequence[str], top: Path) -> Run:
    command = [sys.executable, "-m", "fakescan", "scan", *arguments, "-o", str(top / "r.csv")]
    environment = {**os.environ, "FAKESCAN_CACHE_DIR": str(top / "cache")}
    errors = top / "errors.txt"
    start = time.perf_counter()
    with errors.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    text = errors.read_text(encoding="utf-8")
    summary = SUMMARY.search(text)
    if status or summary is None:
        sys.exit(text)
    cached = CACHED.search(text)
    return Run(
        files=int(summary[1]),
        cached=int(cached[1]) if cached else 0,
        scan_s=float(summary[2]),
        process_s=seconds,
        peak_mb=usage.ru_maxrss / 1e3,
    )


def _print(name: str, run: Run) -> None:
    cells = (
        name,
        f"{run.files}",
        f"{run.cached}",
        f"{run.scan_s:.1f} s",
        f"{run.files / max(run.scan_s, 0.05):.0f}",
        f"{run.process_s:.1f} s",
        f"{run.peak_mb:.0f} MB",
    )
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
