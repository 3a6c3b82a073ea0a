"""Time how long fakescan takes to begin, beside a bare Python; prints Markdown.

    python scripts/benchmark_start.py [--runs 5]

The best of several runs: of `python -c pass`, `fakescan --help`, and a scan of one photograph,
from start to exit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

PHOTO = Path(__file__).parents[1] / "samples" / "real" / "rocket.jpg"


def best_s(command: list[str], runs: int) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    bare = best_s(["-c", "pass"], runs)
    print("| command | best, s | over a bare Python |\n|---|---|---|")
    for name, command in (
        ("python -c pass", ["-c", "pass"]),
        ("fakescan --help", ["-m", "fakescan", "--help"]),
        ("fakescan scan PHOTO", ["-m", "fakescan", "scan", str(PHOTO)]),
    ):
        seconds = best_s(command, runs)
        print(f"| `{name}` | {seconds:.2f} | {seconds / bare:.1f}x |")


if __name__ == "__main__":
    main()
