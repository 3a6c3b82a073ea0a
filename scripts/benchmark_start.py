#!/usr/bin/env python3
"""Time how long fakescan takes to begin, beside a bare Python; prints Markdown.

    python scripts/benchmark_start.py [--runs 5]

The median and the best of several runs, in turns, from start to exit: of `python -c pass`,
`fakescan --help`, and a scan of one photograph without the cache, so that the detector is loaded
and runs every time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from fakescan import machine

PHOTO = Path(__file__).resolve().parents[1] / "samples" / "real" / "rocket.jpg"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "fakescan --help": ["-m", "fakescan", "--help"],
    "fakescan scan PHOTO --no-cache": ["-m", "fakescan", "scan", str(PHOTO), "--no-cache"],
}


def seconds_of(arguments: list[str]) -> float:
    """One run of Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds_of(arguments))
    print(f"{machine.description()}\n")
    print(f"| command | median of {runs} | best |\n|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| `{name}` | {median(seconds):.2f} s | {min(seconds):.2f} s |")


if __name__ == "__main__":
    main()
