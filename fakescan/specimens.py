"""Images that travel inside a detector's file, with the logits that they got at its export.

Whoever runs the file elsewhere can tell whether it computes there what it computed here. They are
a second metadata property, so that files without them, and readers that do not know them, are as
they were.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import FakescanError, WeightsError
from fakescan.image import Limits, open_picture, to_rgb

KEY = "fakescan_specimens"
"""Key of the JSON text among the ONNX file's metadata properties."""
GRAPH_KEY = "fakescan_graph_sha256"
"""Key of `fakescan.protobuf.graph_sha256` as it was at the export."""
VERSION = 1
MAX_SPECIMENS = 16
LIMITS = Limits(max_megapixels=4.0)
"""Of one specimen: a file from anywhere may hold anything."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """One image and what is known of it."""

    name: str
    png: bytes
    torch_logit: float
    """Of the torch model, on squares as `fakescan.image` cuts them."""
    logit: float
    """Of the file, in ONNX Runtime on the machine that exported it."""

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB.

        Raises:
            ImageError: it is no image, or a large one.
        """
        return np.asarray(to_rgb(open_picture(self.png, LIMITS).image))


def to_json(specimens: Sequence[Specimen]) -> str:
    """Text for the ONNX file's metadata properties."""
    images = [
        {
            "name": s.name,
            "png": base64.b64encode(s.png).decode("ascii"),
            "torch_logit": s.torch_logit,
            "logit": s.logit,
        }
        for s in specimens
    ]
    return json.dumps({"version": VERSION, "images": images})


def from_json(text: str, where: str) -> list[Specimen]:
    """Read what `to_json` wrote.

    Raises:
        WeightsError: not such a text, or of a newer version.
    """
    try:
        values = json.loads(text)
        if values["version"] != VERSION:
            raise WeightsError(
                f"{where}: specimens of version {values['version']}: update fakescan"
            )
        found = [_specimen(image) for image in values["images"]]
        for specimen in found:
            specimen.pixels()
    except WeightsError:
        raise
    except (ValueError, KeyError, TypeError, FakescanError) as e:
        raise WeightsError(f"{where}: its specimens cannot be read") from e
    if not 0 < len(found) <= MAX_SPECIMENS:
        raise WeightsError(f"{where}: {len(found)} specimens; there may be 1 to {MAX_SPECIMENS}")
    return found


def _specimen(image: Any) -> Specimen:
    png = base64.b64decode(image["png"], validate=True)
    return Specimen(str(image["name"]), png, float(image["torch_logit"]), float(image["logit"]))
