"""Compare what part of an image a detector is shown; prints Markdown.

    python scripts/experiments/compare_geometry.py DATA MODEL.onnx [--threads 1]

The same detector scores every development image in several views: the centre crop of native
pixels, the shorter side resized and the centre cut, and the mean logit of three crops (centre,
top left, bottom right). Differences are to the first view, on the same resamples of images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dev_scores import PAIRING, mean_figures, percent
from numpy.typing import NDArray
from PIL import Image

from fakescan.config import load
from fakescan.data.samples import Sample, read_samples
from fakescan.evaluate.benchmark import ScoreTable, evaluate_by_source
from fakescan.evaluate.intervals import bounded
from fakescan.evaluate.pairing import Pairing
from fakescan.image import Preprocess, open_picture, resize_short, to_rgb, view
from fakescan.session import OnnxSession

Cut = Callable[[Image.Image], NDArray[np.uint8]]


def corner(image: Image.Image, px: int, *, is_last: bool) -> NDArray[np.uint8]:
    """The top left crop of native pixels, or the bottom right one, (S, S, 3)."""
    rgb = to_rgb(image)
    if min(rgb.size) < px:
        rgb = resize_short(rgb, px)
    left, top = (rgb.width - px, rgb.height - px) if is_last else (0, 0)
    return np.asarray(rgb.crop((left, top, left + px, top + px)))


def logits(session: OnnxSession, samples: list[Sample], cut: Cut) -> NDArray[np.float64]:
    """One view's logit of every sample, (n,)."""
    found = [session.logits(cut(open_picture(s.path).image)[None])[0] for s in samples]
    return np.array(found, np.float64)


def main() -> None:
    """Score all views and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    session = OnnxSession(args.model, device="cpu", threads=args.threads)
    samples = read_samples(args.data, split=(args.split,))
    pairing = load(Pairing, PAIRING)
    px = session.metadata.preprocess.image_px
    cuts: dict[str, Cut] = {
        "centre": lambda image: view(image, Preprocess(image_px=px)),
        "resize": lambda image: view(image, Preprocess(image_px=px, geometry="resize")),
        "first": lambda image: corner(image, px, is_last=False),
        "last": lambda image: corner(image, px, is_last=True),
    }
    start = time.monotonic()
    views = {name: logits(session, samples, cut) for name, cut in cuts.items()}
    seconds = (time.monotonic() - start) / len(cuts) / len(samples)
    crops = np.mean([views[name] for name in ("centre", "first", "last")], axis=0)
    print("| view | dev AUC | gain | AP at 1:1 | reals called fake, % | found, % | cost |")
    print("|---|---|---|---|---|---|---|")
    base = mean_figures(ScoreTable(tuple(samples), views["centre"]), pairing)["auc"]
    for name, values, cost in (
        ("centre crop of native pixels", views["centre"], 1),
        ("shorter side to 224, centre crop", views["resize"], 1),
        ("three crops of native pixels, mean logit", crops, 3),
    ):
        table = ScoreTable(tuple(samples), values)
        own = mean_figures(table, pairing)["auc"]
        gain = (
            percent(bounded(own[0] - base[0], own[1:] - base[1:]))
            if cost > 1 or own[0] != base[0]
            else ""
        )
        found = evaluate_by_source(
            table, pairing, calibration=session.metadata.calibration, band=session.metadata.band
        )
        images = sum(r.reals for r in found.reals)
        called = sum(r.called_fake.value * r.reals for r in found.reals) / images
        print(
            f"| {name} | {percent(found.mean.auc)} | {gain} | {percent(found.mean.ap)} | "
            f"{100 * called:.1f} | {100 * found.mean.fake_acc.value:.0f} | {cost}x |"
        )
    print(f"\n{len(samples)} images, {1000 * seconds:.0f} ms a view")


if __name__ == "__main__":
    main()
