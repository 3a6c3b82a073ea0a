"""Words that files use for their origin: IPTC's source types, and names of generators.

Source: IPTC NewsCodes, "Digital Source Type", https://cv.iptc.org/newscodes/digitalsourcetype.
"""

from __future__ import annotations

import re

from fakescan.provenance.signal import Kind

SOURCE_TYPE = re.compile(r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/(?P<code>\w{1,60})")
KINDS = {
    "trainedAlgorithmicMedia": Kind.GENERATED,
    "compositeWithTrainedAlgorithmicMedia": Kind.COMPOSITE,
    "compositeSynthetic": Kind.COMPOSITE,
    "digitalCapture": Kind.CAPTURED,
    "computationalCapture": Kind.CAPTURED,
    "negativeFilm": Kind.CAPTURED,
    "positiveFilm": Kind.CAPTURED,
    "print": Kind.CAPTURED,
}
"""All other types, such as drawings and screenshots, leave it undecided."""
GENERATORS = (
    "adobe firefly",
    "comfyui",
    "dall·e",
    "dall-e",
    "fooocus",
    "imagen",
    "invokeai",
    "midjourney",
    "novelai",
    "stable diffusion",
    "stable diffusion webui",
)
"""Programs that do nothing but make images, as they write themselves into a software field."""
_GENERATOR = re.compile(
    "(?:" + "|".join(re.escape(name) for name in GENERATORS) + r")(?:[ /-]v?\d[\w.\-]{0,40})?"
)


def source_type(value: object) -> tuple[str, Kind] | None:
    """The code and the kind of an IPTC source type; None for anything else."""
    found = SOURCE_TYPE.fullmatch(value.strip()) if isinstance(value, str) else None
    return (found["code"], KINDS.get(found["code"], Kind.UNDECIDED)) if found else None


def is_generator(software: str) -> bool:
    """True when the whole field is the name of a generator, with or without its version.

    A name among other words is no statement: a photograph's editor may be called after one.
    """
    name = software.strip().lower()
    return bool(_GENERATOR.fullmatch(name) or _GENERATOR.fullmatch(name.replace("-", " ")))
