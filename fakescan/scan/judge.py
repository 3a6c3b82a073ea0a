"""A crop and its logit -> a finding; a reason why there is none -> a finding too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fakescan.errors import ConfigError, ImageError
from fakescan.metadata import DetectorMetadata
from fakescan.provenance.signal import from_text
from fakescan.records import Band, Finding, Verdict
from fakescan.scan.cache import Known
from fakescan.scan.crop import Crop


class Judge:
    """Turns the logits of one detector into findings."""

    def __init__(
        self, metadata: DetectorMetadata, fingerprint: str, threshold: float | None
    ) -> None:
        """Fix the thresholds.

        Args:
            metadata: of the detector.
            fingerprint: goes into every finding.
            threshold: both thresholds at one value in [0, 1]; None takes the detector's own.
        """
        self.band = metadata.band if threshold is None else band_at(threshold)
        self._calibration = metadata.calibration
        self._fingerprint = fingerprint

    def scored(
        self, path: str, crop: Crop | Known, logit: float, perturbed: Sequence[float] = ()
    ) -> Finding:
        """The finding of an image that went through the detector, now or earlier.

        Args:
            path: of the image.
            crop: of the image, or what is known of it.
            logit: of the crop.
            perturbed: logits under the perturbations of `crop.perturbed`, in its order.
        """
        is_number = all(map(math.isfinite, (logit, *perturbed)))
        score = self._calibration.score(logit) if is_number else None
        verdict = Verdict.ERROR if score is None else self.band.verdict(score)
        scores = [self._calibration.score(x) for x in perturbed] if is_number else []
        said = crop.provenance if isinstance(crop, Crop) else from_text(crop.provenance)
        return Finding(
            path=path,
            verdict=verdict,
            score=score,
            logit=logit if is_number else None,
            width=crop.width,
            height=crop.height,
            format=crop.format,
            error=None if is_number else f"the detector gave {logit} for it",
            detector=self._fingerprint,
            sha256=crop.sha256,
            thumbnail=crop.thumbnail,
            provenance=said.kind if said else None,
            provenance_detail=said.detail if said else None,
            perturbed=tuple(zip(crop.perturbed, scores, strict=False)),
            stable=all(self.band.verdict(s) is verdict for s in scores) if scores else None,
        )

    def failed(self, path: str, error: ImageError) -> Finding:
        """The finding of an image that could not be scored."""
        return Finding(
            path=path,
            verdict=Verdict.ERROR,
            error=str(error),
            detector=self._fingerprint,
            sha256=error.sha256,
        )


def band_at(threshold: float) -> Band:
    """Both thresholds at one score, so that nothing is uncertain."""
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold: must lie between 0 and 1, got {threshold}")
    return Band(t_fake=threshold, t_real=threshold)
