"""The child process that decodes: paths in, crops out, one at a time.

It speaks over its standard input and output, a line of JSON each way, so that nothing which a
damaged image could do to this process is ever unpickled by the parent:

    in    {"preprocess": ..., "limits": ..., "timeout_s": ..., "extras": ...}     once
    out   {}                                                    once, when it is ready
    in    "path", or the number of bytes of an image, and those bytes
    out   {"width": ..., "height": ..., "format": ..., "px": S, "sha256": ..., "thumbnail": T,
           "provenance": null or [kind, detail], "perturbed": [name, ...],
           "frame": null or {"size": [H, W], "box": [left, top, right, bottom]}}
          and S * S * 3 bytes of RGB, as many for each perturbation, T bytes of WebP, and
          H * W * 3 bytes of RGB
    or    {"error": "why there are no pixels", "sha256": ...}
    or    {"bug": "traceback"}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from PIL import Image

from fakescan.config import from_dict
from fakescan.errors import ImageError
from fakescan.image import Limits, Preprocess
from fakescan.scan.crop import Extras, crop_bytes, crop_file, sha256_of

GRACE_S = 5.0
"""The parent's timeout comes first; the child's own is for when there is no parent any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What every image of a scan is decoded with."""

    preprocess: Preprocess
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 60.0
    """Seconds that one image may take."""
    extras: Extras = field(default_factory=Extras)
    """What reports want besides."""

    def to_json(self) -> bytes:
        """The first line that a worker reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Serve the parent until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    Image.MAX_IMAGE_PIXELS = None  # `Limits` decides, from the header
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)  # a C library that prints must not break the protocol
    serve(sys.stdin.buffer, answers)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer every request line; the first sets the job."""
    job = from_dict(Job, json.loads(requests.readline()), "worker")
    _send(answers, {})
    for line in requests:
        _alarm(job.timeout_s + GRACE_S)
        asked = json.loads(line)
        image = requests.read(asked) if isinstance(asked, int) else Path(asked)
        header, pixels = _answer(image, job)
        _alarm(0)
        _send(answers, header, pixels)


def _answer(image: Path | bytes, job: Job) -> tuple[dict[str, Any], bytes]:
    try:
        if isinstance(image, bytes):
            crop = crop_bytes(image, job.preprocess, job.limits, job.extras)
        else:
            crop = crop_file(image, job.preprocess, job.limits, job.extras)
    except ImageError as e:
        return {"error": str(e), "sha256": sha256_of(image) if job.extras.hashes else None}, b""
    except Exception:  # noqa: BLE001  (the parent raises it)
        return {"bug": traceback.format_exc()}, b""
    thumbnail, said, frame = crop.thumbnail or b"", crop.provenance, crop.frame
    header = {
        "width": crop.width,
        "height": crop.height,
        "format": crop.format,
        "px": len(crop.pixels),
        "sha256": crop.sha256,
        "thumbnail": len(thumbnail),
        "provenance": said and [said.kind, said.detail],
        "perturbed": list(crop.perturbed),
        "frame": frame and {"size": frame.whole.shape[:2], "box": frame.box},
    }
    looks = b"".join(look.tobytes() for look in crop.looks)
    return header, looks + thumbnail + (frame.whole.tobytes() if frame else b"")


def _send(answers: IO[bytes], header: dict[str, Any], pixels: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + pixels)
    answers.flush()


def _alarm(seconds: float) -> None:
    """Let the system end this process then, even from within a decoder; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
