"""The child process that decodes: paths in, crops out, one at a time.

It speaks over its standard input and output, a line of JSON each way, so that nothing which a
damaged image could do to this process is ever unpickled by the parent:

    in    {"preprocess": ..., "limits": ..., "timeout_s": ..., "extras": ...}     once
    out   {}                                                    once, when it is ready
    in    "path", or the number of bytes of an image, and those bytes
    out   {"width": ..., "height": ..., "format": ..., "px": S, "sha256": ..., "thumbnail": T,
           "perturbed": [name, ...], "properties": null or [number, ...],
           "frame": null or {"size": [H, W], "box": [left, top, right, bottom]}}
          and S * S * 3 bytes of RGB, as many for each perturbation, T bytes of WebP, and
          H * W * 3 bytes of RGB
    or    {"error": "why there are no pixels", "sha256": ...}
    then  {"provenance": null or [kind, detail]}               only behind pixels, if asked for
    or    {"bug": "traceback"}                                 in place of any answer

Pixels come first, so that a file on which a reader of metadata crashes has its score all the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from fakescan.config import from_dict
from fakescan.errors import ImageError
from fakescan.image import Decoding, Limits, Preprocess
from fakescan.scan.crop import Crop, Extras, crop_bytes, crop_file, sha256_of

Send = Callable[..., None]
"""Takes a header, and the bytes behind it."""
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
    decoding: Decoding = "exact"
    """Whether a JPEG may be scaled while it is decoded."""

    def to_json(self) -> bytes:
        """The first line that a worker reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Serve the parent until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
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
        _answer(image, job, partial(_send, answers))
        _alarm(0)


def _answer(image: Path | bytes, job: Job, send: Send) -> None:
    how = (job.preprocess, job.limits, job.extras, job.decoding, partial(_send_pixels, send))
    try:
        crop = crop_bytes(image, *how) if isinstance(image, bytes) else crop_file(image, *how)
    except ImageError as e:
        send({"error": str(e), "sha256": sha256_of(image) if job.extras.hashes else None})
    except Exception:  # noqa: BLE001  (the parent raises it)
        send({"bug": traceback.format_exc()})
    else:
        if job.extras.provenance != "off":
            said = crop.provenance
            send({"provenance": said and [said.kind, said.detail]})


def _send_pixels(send: Send, crop: Crop) -> None:
    thumbnail, frame = crop.thumbnail or b"", crop.frame
    header = {
        "width": crop.width,
        "height": crop.height,
        "format": crop.format,
        "px": len(crop.pixels),
        "sha256": crop.sha256,
        "thumbnail": len(thumbnail),
        "perturbed": list(crop.perturbed),
        "properties": crop.properties,
        "frame": frame and {"size": frame.whole.shape[:2], "box": frame.box},
    }
    looks = (look.tobytes() for look in crop.looks.values())
    whole = frame.whole.tobytes() if frame else b""
    send(header, b"".join((*looks, thumbnail, whole)))


def _send(answers: IO[bytes], header: dict[str, Any], pixels: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + pixels)
    answers.flush()


def _alarm(seconds: float) -> None:
    """Let the system end this process then, even from within a decoder; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
