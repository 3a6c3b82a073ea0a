"""A manifest of labelled images -> a tree of generators in tasks, for `fakescan attribute eval`.

    OUT/raw/TASK/{train,test}/{real,GENERATOR}/    links to the images
    OUT/equal/...                                  the same, scaled to 256 px and JPEG 96

Each source is split on its own, by a hash; a source gives at most `--cap` images. Reals are dealt
to the tasks whose fakes they resemble in size, so that size alone does not tell task from task.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fakescan.data.samples import Sample, rank, read_samples
from fakescan.evaluate.equalise import Equalising
from fakescan.image import open_picture, to_rgb
from fakescan.perturb import EQUAL_QUALITY, parse

TASKS: dict[str, dict[str, tuple[str, ...]]] = {
    "sd1": {
        "real": ("train/real-imagenet",),
        "sd1": ("drawbench-sd14", "drawbench-sd15", "extile-sd1x", "visor-stable-diffusion"),
    },
    "dallemini": {
        "real": ("train/derived-real-128png",),
        "dallemini": ("visor-dallemini", "dcsan-dallemini"),
    },
    "dit": {
        "real": ("train/real-deepin", "train/real-dreambooth"),
        "flux": ("flux-cheatsheet-tiles",),
        "sd35": ("sd35l-artists", "sd35l-styles"),
        "hunyuan": ("hunyuandit",),
    },
    "ldm": {
        "real": ("train/real-bsds500",),
        "ldm": ("dcsan-ldm",),
        "glid3xl": ("dcsan-glid3xl",),
        "sdbeta": ("dcsan-sd",),
    },
    "sd2": {
        "real": ("dev/real-imagenet", "dev/real-bsds500"),
        "sd21": ("drawbench-sd21",),
        "composable": ("visor-sd-cdm",),
    },
    "cogview": {"real": ("dev/derived-real-128png",), "cogview2": ("visor-cogview2",)},
    "gan": {
        "real": ("dev/real-monet2photo", "dev/real-wallpapers-lomiri"),
        "stylegan": ("fakefaces-generatedphotos",),
        "cyclegan": ("cyclegan-monet2photo",),
    },
    "closed": {
        "real": ("train/real-mei-cameras", "train/gcompris-photos"),
        "midjourney": ("mj-dagny", "mjv7-pixmind"),
        "gpt4o": ("gpt4o-gallery",),
        "kolors": ("kolors",),
    },
}
"""Task -> class -> sources; a source of reals with the split that it is taken from."""
TEST_SHARE = 0.3
EQUAL = Equalising()


def chosen(samples: list[Sample], source: str, cap: int, seed: int) -> list[Sample]:
    """At most `cap` of a source's images, in an order that a hash decides."""
    split, _, name = source.rpartition("/")
    found = [s for s in samples if s.source == name and split in ("", s.split)]
    if name == "kolors":  # the source also holds pictures of other generators
        found = [s for s in found if s.generator == "Kolors"]
    return sorted(found, key=lambda s: rank(s.key, seed))[:cap]


def place(sample: Sample, name: str, folder: Path, source: str) -> None:
    """Link an image, and store its equalised copy beside the links' tree."""
    picture = open_picture(sample.path)
    stem = f"{source.replace('/', '-')}-{sample.path.stem}"
    link = folder / "raw" / name / f"{stem}.{picture.format.lower()}"  # some have odd suffixes
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(sample.path.resolve())
    copy = folder / "equal" / name / f"{stem}.jpg"
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        image = parse(EQUAL.perturbation)(to_rgb(picture.image))
        image.save(copy, "JPEG", quality=EQUAL_QUALITY, subsampling="4:2:0")


def main() -> int:
    """Build both trees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with manifest.csv")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cap", type=int, default=40, help="images of one source, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    samples = read_samples(options.data)
    for task, classes in TASKS.items():
        for name, sources in classes.items():
            for source in sources:
                found = chosen(samples, source, options.cap, options.seed)
                tests = round(TEST_SHARE * len(found))
                for i, sample in enumerate(found):
                    split = "test" if i < tests else "train"
                    place(sample, f"{task}/{split}/{name}", options.out, source)
                print(f"{task} {name} {source}: {len(found) - tests} + {tests}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
