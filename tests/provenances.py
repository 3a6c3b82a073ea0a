"""Images that say where they come from, made by the tests."""

from __future__ import annotations

import io

from PIL import Image

from fakescan.image import opened
from fakescan.provenance.read import read_provenance

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def look(source, *, is_full=False):
    """What a file says: kind and detail, or None."""
    with opened(source) as (image, _):
        found = read_provenance(image, source, is_full=is_full)
    return found and (found.kind, found.detail)


def noise(size=(64, 48)):
    return Image.effect_noise(size, 80).convert("RGB")


def encoded(format_, **options):
    stream = io.BytesIO()
    noise().save(stream, format_, **options)
    return stream.getvalue()


def created(source_type):
    return {"action": "c2pa.created", "digitalSourceType": IPTC + source_type}
