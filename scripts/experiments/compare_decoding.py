"""Compare scores when JPEGs are scaled down while they are decoded; prints Markdown.

    python scripts/experiments/compare_decoding.py DATA MODEL.onnx [--threads 1]

The detector scores every development image decoded whole and decoded with DCT scaling, in three
ways: as `--decode fast` does it for the detector's geometry; cutting its native crop out of the
scaled image all the same; and shown the shorter side resized, with several margins between what
scaling leaves and what is needed. A second table has the processor time of decoding, also of
large JPEGs, which are put together from development photos.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan import runtime
from fakescan.data.samples import Sample, read_samples
from fakescan.image import Preprocess, needed_px, open_picture, opened, to_rgb, view
from fakescan.session import OnnxSession

LARGE = ((4000, 3000), (8000, 6000))
QUALITY = 90
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Way:
    """One way to decode, and what the detector is then shown."""

    name: str
    preprocess: Preprocess
    short_px: int | None


def ways(preprocess: Preprocess) -> list[Way]:
    """What is compared with decoding whole."""
    px, resized = preprocess.image_px, replace(preprocess, geometry="resize")
    margins = [Way(f"resize, margin {m}", resized, m * px) for m in (1, 2, 4)]
    as_scanned = Way(
        f"{preprocess.geometry}, --decode fast", preprocess, needed_px(preprocess, "fast")
    )
    return [as_scanned, Way("crop out of the scaled image", preprocess, px), *margins]


class Scores:
    """Scores by crop; equal crops are scored once."""

    def __init__(self, session: OnnxSession) -> None:
        self._session = session
        self._known: dict[bytes, float] = {}

    def __call__(self, crop: NDArray[np.uint8]) -> float:
        """Calibrated score of one crop, (S, S, 3)."""
        key = crop.tobytes()
        if key not in self._known:
            logit = float(self._session.logits(crop[None])[0])
            self._known[key] = self._session.metadata.calibration.score(logit)
        return self._known[key]


def compare(way: Way, samples: Sequence[Sample], scores: Scores, session: OnnxSession) -> str:
    """A row: how far scores move, and how many verdicts."""
    moves, flips, scaled = [0.0] * len(samples), 0, 0
    band = session.metadata.band
    for i, sample in enumerate(samples):
        whole = view(open_picture(sample.path).image, way.preprocess)
        with opened(sample.path, short_px=way.short_px) as (image, picture):
            scaled += image.size not in (
                (picture.width, picture.height),
                (picture.height, picture.width),
            )
            other = view(picture.image, way.preprocess)
        if np.array_equal(whole, other):
            continue
        exact, fast = scores(whole), scores(other)
        moves[i] = abs(exact - fast)
        flips += band.verdict(exact) is not band.verdict(fast)
    mean_scaled = sum(moves) / scaled if scaled else 0.0
    return (
        f"| {way.name} | {scaled} of {len(samples)} | {np.mean(moves):.4f} | {mean_scaled:.4f} | "
        f"{max(moves):.4f} | {flips} ({300 * flips / len(samples):.1f} in 300) |"
    )


def mosaic(samples: Sequence[Sample], size: tuple[int, int]) -> bytes:
    """A large JPEG of real photos side by side, at their native size."""
    canvas = Image.new("RGB", size)
    photos = (to_rgb(open_picture(s.path).image) for s in (*samples,) * 100)
    for top in range(0, size[1], 400):
        for left in range(0, size[0], 400):
            photo = next(photos)
            middle = ((photo.width - 400) // 2, (photo.height - 400) // 2)
            canvas.paste(photo.crop((*middle, middle[0] + 400, middle[1] + 400)), (left, top))
    stream = io.BytesIO()
    canvas.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def seconds(source: Path | bytes, short_px: int | None) -> float:
    """Of processor time for decoding, the best of several times."""

    def once() -> float:
        start = time.process_time()
        with opened(source, short_px=short_px):
            return time.process_time() - start

    return min(once() for _ in range(REPEATS))


def costs(samples: Sequence[Sample], px: int) -> Iterator[str]:
    """Rows: milliseconds of decoding, whole and scaled, by size."""
    whole = [s for s in samples if s.path.suffix.lower() in (".jpg", ".jpeg")]
    sizes = {s.path: open_picture(s.path).image.size for s in whole}
    small = [s.path for s in whole if max(sizes[s.path]) <= 512]
    wide = [s.path for s in whole if min(sizes[s.path]) >= 2 * 2 * px]
    photos = [s for s in whole if s.label == 0 and min(sizes[s.path]) >= 400]
    large = [(f"{w}x{h}", [mosaic(photos, (w, h))]) for w, h in LARGE]
    groups: list[tuple[str, Sequence[Path | bytes]]] = [
        (f"{len(small)} of up to 512 px", small),
        (f"{len(wide)} with a shorter side of {4 * px} px or more", wide),
        *large,
    ]
    for name, sources in groups:
        cells = [
            1000 * float(np.mean([seconds(s, short_px) for s in sources]))
            for short_px in (None, 2 * px, px)
        ]
        yield f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


def main() -> None:
    """Score, time, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    session = OnnxSession(args.model, device="cpu", threads=args.threads)
    samples = read_samples(args.data, split=(args.split,))
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{session.fingerprint}, {runtime.described()}, {machine}\n")
    print("| decoding | images scaled | mean move | of those scaled | largest | verdicts changed |")
    print("|---|---|---|---|---|---|")
    scores = Scores(session)
    for way in ways(session.metadata.preprocess):
        print(compare(way, samples, scores, session), flush=True)
    px = session.metadata.preprocess.image_px
    print("\n| JPEGs | whole, CPU ms | scaled, margin 2 | margin 1 |")
    print("|---|---|---|---|")
    for row in costs(samples, px):
        print(row, flush=True)


if __name__ == "__main__":
    main()
