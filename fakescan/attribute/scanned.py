"""Generators in the findings of a scan. Torch-free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fakescan.attribute.answer import UNKNOWN, generators, read
from fakescan.attribute.session import OnnxNamer
from fakescan.errors import ConfigError
from fakescan.image import Preprocess
from fakescan.records import FLAGGED, Finding
from fakescan.scan.crop import Crop
from fakescan.scan.pipeline import Name


def naming(namer: OnnxNamer, detector: Preprocess) -> Name:
    """What puts the generator into a finding that is fake or uncertain; one that is real has none.

    Args:
        namer: of an exported file.
        detector: how the scan cuts what the detector sees, which the attributor sees, too.

    Raises:
        ConfigError: both look at images in different ways.
    """
    own = namer.preprocess
    if (own.image_px, own.geometry) != (detector.image_px, detector.geometry):
        raise ConfigError(
            f"--attribute: it sees {own.image_px} px ({own.geometry}), the detector "
            f"{detector.image_px} px ({detector.geometry}); use a detector on the same backbone"
        )
    known = generators(namer.classes)

    def name(finding: Finding, crop: Crop) -> Finding:
        finding = replace(finding, known_generators=known)
        if finding.verdict not in FLAGGED:
            return finding
        logits = namer.logits(crop.pixels[:1])
        if not np.isfinite(logits).all():
            return finding
        (best, score), *_ = read(logits, namer.classes, namer.rules)[0].ranked
        named = UNKNOWN if score < namer.rules.unknown_below else best
        return replace(finding, generator=named, generator_score=score)

    return name
