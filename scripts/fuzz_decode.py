"""Decode damaged images for a while; a file that ends in anything but a crop or a reason is kept.

Seeds are images of every format in several pixel types, with metadata that say where they come
from, tests/data/hostile and tests/data/signed. Each is damaged at random (bytes changed, cut,
repeated, spliced with another seed) and decoded in a child process, as a scan does, with all that
a report can want: hash, thumbnail, provenance and prompts. `--seed` repeats a run. Exit code 1 when
something was found; a finding becomes a test by copying its file into tests/data/hostile.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakescan.errors import ImageError
from fakescan.image import Limits, Preprocess
from fakescan.scan.crop import Extras
from fakescan.scan.decode import Children
from fakescan.scan.worker import Job

ROOT = Path(__file__).resolve().parent.parent
MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16")
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
TIMEOUT_S = 10.0
RECIPE = "a castle\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 512x512"
WORKFLOW = '{"3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}}}'
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:'
    'DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    "</rdf:RDF></x:xmpmeta>"
)
BAD_ENDS = ("crashed", "took longer")
"""Words in the reasons of a child that died or hung: no fault of a scan, but worth a look."""


def seeds() -> Iterator[bytes]:
    """Yield whole images of every kind, and the hostile ones."""
    gradient = Image.linear_gradient("L").resize((48, 40))
    for mode in MODES:
        for format_ in FORMATS:
            stream = io.BytesIO()
            try:
                gradient.convert("RGB" if mode in ("RGBA", "CMYK") else "L").convert(mode).save(
                    stream, format_, **metadata(format_)
                )
            except (OSError, ValueError, KeyError):
                continue  # no such pixels in that format
            yield stream.getvalue()
    for folder in ("hostile", "signed"):
        for path in sorted((ROOT / "tests" / "data" / folder).glob("*.*")):
            if path.stat().st_size < 60_000:
                yield path.read_bytes()


def metadata(format_: str) -> dict[str, Any]:
    """What to save an image with, so that the readers of each kind of metadata have work."""
    if format_ in ("BMP", "GIF"):
        return {}
    exif = Image.Exif()
    exif[0x0131] = "Adobe Firefly 2"  # Software
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + RECIPE.encode("utf-16-le")  # UserComment
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 0.0)})  # GPS
    if format_ == "PNG":
        text = PngInfo()
        text.add_text("parameters", RECIPE)
        text.add_text("prompt", WORKFLOW, zip=True)
        text.add_itxt("XML:com.adobe.xmp", XMP)
        return {"exif": exif, "pnginfo": text}
    return {"exif": exif} if format_ == "TIFF" else {"exif": exif, "xmp": XMP.encode()}


def damage(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One image with a few random wounds."""
    wounded = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(wounded) + 1)
        length = chance.choice((1, 1, 2, 4, 64))
        kind = chance.randrange(5)
        if kind == 0:
            wounded[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            wounded[place : place + length] = chance.choice((b"\xff", b"\0", b"\x7f")) * length
        elif kind == 2:
            wounded = wounded[: max(1, place)]
        elif kind == 3:
            wounded[place:place] = wounded[place : place + 64]
        else:
            start = chance.randrange(len(other))
            wounded[place:] = other[start:]
    return bytes(wounded)


def fuzz(seconds: float, seed: int, out: Path) -> Counter[str]:
    """Decode damaged images until the time is up; keep those that end badly."""
    chance = random.Random(seed)
    images = list(seeds())
    job = Job(
        preprocess=Preprocess(image_px=32),
        limits=Limits(max_megapixels=20),
        timeout_s=TIMEOUT_S,
        extras=Extras(hashes=True, thumbnails=True, provenance="full"),
    )
    ends: Counter[str] = Counter()
    stop = time.monotonic() + seconds
    with Children(job) as children:
        while time.monotonic() < stop:
            data = damage(chance.choice(images), chance.choice(images), chance)
            end = _end(children, data)
            ends[end] += 1
            if end not in ("decoded", "refused"):
                out.mkdir(parents=True, exist_ok=True)
                (out / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return ends


def _end(children: Children, data: bytes) -> str:
    try:
        children.decode(data)
    except ImageError as e:
        return next((words for words in BAD_ENDS if words in str(e)), "refused")
    except RuntimeError as e:  # a bug: the child's traceback
        return str(e).strip().splitlines()[-1]
    return "decoded"


def main() -> int:
    """Fuzz, and say how many images ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    ends = fuzz(arguments.seconds, arguments.seed, arguments.out)
    for end, count in ends.most_common():
        print(f"{count:8} {end}")
    return 1 if set(ends) - {"decoded", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
