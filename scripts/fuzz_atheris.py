#!/usr/bin/env python3
"""Decode images that grow from what the decoders' Python code branches on; ends at the first bug.

    pip install atheris
    python scripts/fuzz_atheris.py CORPUS -max_total_time=600

Pillow's plugins, the readers of metadata and our own code are instrumented; the corpus starts from
the images of `scripts/fuzz_decode.py`. Options behind the folder are libFuzzer's. All in one
process, so that a crash in a C decoder ends it; `scripts/fuzz_decode.py` goes on after those.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "fakescan", "defusedxml"]):
    from fuzz_decode import seeds

    from fakescan.errors import ImageError
    from fakescan.image import Limits, Preprocess
    from fakescan.scan.crop import Extras, crop_bytes

PREPROCESS = Preprocess(image_px=32)
LIMITS = Limits(max_megapixels=20)
EXTRAS = Extras(hashes=True, thumbnails=True, provenance="full")


def decode(data: bytes) -> None:
    """A crop or a reason; anything else is a finding."""
    with suppress(ImageError):
        crop_bytes(data, PREPROCESS, LIMITS, EXTRAS)


def main() -> None:
    """Write the corpus and hand over to libFuzzer."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    atheris.Setup(sys.argv, decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
