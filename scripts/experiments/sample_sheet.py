"""Draw the sample images with what a detector says of them: docs/explanation/samples.jpg.

python scripts/experiments/sample_sheet.py OUT.jpg [--model M]

The samples are the only images whose licences let the project show them; they are examples, and
no benchmark.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fakescan.explain.colours import Colour
from fakescan.explain.sheet import INK, LINE, QUIET, Sheet

ROOT = Path(__file__).parents[2]
COLUMNS, SIDE, GAP, WORDS = 6, 190, 12, 46
RIGHT: Colour = (29, 122, 72)
WRONG: Colour = (190, 38, 38)


def verdicts(model: str) -> list[dict[str, str]]:
    """What a scan says of every sample, fakes first."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.csv"
        command = [sys.executable, "-m", "fakescan", "scan", "samples", "--model", model]
        subprocess.run(
            [*command, "--no-cache", "-q", "-o", str(report)], cwd=ROOT, check=True, timeout=600
        )
        with report.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


def draw(rows: list[dict[str, str]]) -> Image.Image:
    """A sheet of all samples, each above its name, verdict and score."""
    lines = -(-len(rows) // COLUMNS)
    sheet = Sheet(COLUMNS * (SIDE + GAP) + GAP, lines * (SIDE + WORDS + GAP) + GAP)
    for number, row in enumerate(rows):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = GAP + number // COLUMNS * (SIDE + WORDS + GAP)
        with Image.open(ROOT / row["path"]) as image:
            square = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE))
        sheet.picture((left, top), np.asarray(square))
        truth, verdict = Path(row["path"]).parent.name, row["verdict"]
        is_open = verdict not in ("real", "fake")
        colour = QUIET if is_open else RIGHT if verdict == truth else WRONG
        sheet.outline((left, top, left + SIDE, top + SIDE), LINE if is_open else colour, 3)
        sheet.text((left, top + SIDE + 8), f"{truth}: {Path(row['path']).stem}", 12, INK)
        said = f"called {verdict}, score {float(row['score']):.2f}"
        sheet.text((left, top + SIDE + 25), said, 12, colour)
    return Image.open(io.BytesIO(sheet.png()))


def main() -> None:
    """Read the command line, scan and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    draw(verdicts(args.model)).save(args.out, quality=85, optimize=True)


if __name__ == "__main__":
    main()
