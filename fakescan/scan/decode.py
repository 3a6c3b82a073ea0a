"""Decode in child processes.

A crash, a hang or a bomb in a decoder costs one file: the child dies, the file becomes an error,
the next file gets a new child.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ImageError, ImageUnreadable
from fakescan.explain.frame import Frame
from fakescan.provenance.signal import Kind, Provenance, unread
from fakescan.scan.alarm import Alarm
from fakescan.scan.crop import Crop
from fakescan.scan.worker import Job

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); " + (
    "from fakescan.scan.worker import main; main()"
)
"""`-m` would let modules in the working folder, such as a scanned one, pass for installed ones."""


class Children:
    """Decode files in child processes, as many as there are threads that ask at once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._all: set[Child] = set()
        self._idle: list[Child] = []
        self._is_closed = False

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, image: str | bytes) -> Crop:
        """Decode one image: the path of a file, or its bytes.

        Raises:
            ImageError: with the reason why there are no pixels.
            RuntimeError: a bug in the child, with its traceback.
        """
        child = self._borrow()
        try:
            return child.decode(image)
        finally:
            self._give_back(child)

    def close(self) -> None:
        """End all children at once, busy ones too; their threads then find nobody there."""
        with self._lock:
            self._is_closed = True
            children, idle = list(self._all), self._idle
        for child in children:
            child.kill()
        for child in idle:
            child.dispose()

    def _borrow(self) -> Child:
        with self._lock:
            while self._idle:
                if (child := self._idle.pop()).is_alive:
                    return child
                self._discard(child)
            if self._is_closed:
                raise ImageUnreadable("the scan was stopped")
            child = Child(self._job)
            self._all.add(child)
            return child

    def _give_back(self, child: Child) -> None:
        with self._lock:
            if child.is_alive and not self._is_closed:
                self._idle.append(child)
            else:
                self._discard(child)

    def _discard(self, child: Child) -> None:
        self._all.discard(child)
        child.dispose()


class Child:
    """One process that decodes one file at a time; see `fakescan.scan.worker`."""

    def __init__(self, job: Job) -> None:
        self._timeout_s = job.timeout_s
        self._has_provenance = job.extras.provenance != "off"
        self._is_ready = False
        self._is_late = False
        self._is_lost = False
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where C libraries complain about files
            start_new_session=True,  # the terminal's Ctrl-C reaches the parent only
        )
        self._alarm = Alarm(job.timeout_s, self._end_late)
        self._send(job.to_json())

    @property
    def is_alive(self) -> bool:
        """False once it crashed, was late, or was killed."""
        is_given_up = self._is_late or self._is_lost  # it may not be gone quite yet
        return not is_given_up and self._process.poll() is None

    def decode(self, image: str | bytes) -> Crop:
        """As `Children.decode`; one call at a time."""
        self._wait_until_ready()
        self._alarm.set()
        try:
            asked = len(image) if isinstance(image, bytes) else image
            self._send(json.dumps(asked).encode() + b"\n")
            if isinstance(image, bytes):
                self._send(image)
            return self._receive()
        finally:
            self._alarm.call_off()

    def kill(self) -> None:
        """End it now; whoever waits for its answer sees the end of the pipe."""
        self._process.kill()

    def dispose(self) -> None:
        """End it, collect it, and close its pipes."""
        self._alarm.end()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent any more cannot be flushed
                cast(IO[bytes], pipe).close()

    def _wait_until_ready(self) -> None:
        if not self._is_ready:  # starting Python is no part of a file's time
            if not self._answers.readline():
                raise RuntimeError(f"a decoder did not start: exit code {self._process.wait()}")
            self._is_ready = True

    def _end_late(self) -> None:
        self._is_late = True
        self._process.kill()

    def _send(self, line: bytes) -> None:
        stdin = cast(IO[bytes], self._process.stdin)
        with suppress(BrokenPipeError):  # it died: reading the answer will tell
            stdin.write(line)
            stdin.flush()

    def _receive(self) -> Crop:
        header = self._header()
        if "error" in header:
            error = ImageError(header["error"])
            error.sha256 = header.get("sha256")
            raise error
        px, frame = header["px"], header["frame"]
        pixels = self._rgb(px, px)
        perturbed = {name: self._rgb(px, px) for name in header["perturbed"]}
        thumbnail = self._read(header["thumbnail"]) or None
        width, height, name, sha256 = (header[k] for k in ("width", "height", "format", "sha256"))
        crop = Crop(pixels, width, height, name, sha256, thumbnail, perturbed=perturbed)
        if header["properties"] is not None:
            crop = replace(crop, properties=tuple(header["properties"]))
        if frame is not None:
            crop = replace(crop, frame=Frame(self._rgb(*frame["size"]), tuple(frame["box"])))
        return replace(crop, provenance=self._provenance()) if self._has_provenance else crop

    def _header(self) -> dict[str, Any]:
        try:
            header: dict[str, Any] = json.loads(self._answers.readline())
        except ValueError as e:
            raise self._lost() from e
        if "bug" in header:
            raise RuntimeError(f"a decoder failed:\n{header['bug']}")
        return header

    def _provenance(self) -> Provenance | None:
        """What comes behind the pixels; those are not lost when the child is."""
        try:
            said = self._header()["provenance"]
        except ImageUnreadable:
            late = f"took longer than {self._timeout_s:g} s (--timeout)"
            return unread(late if self._is_late else "the reader crashed")
        if said is None:
            return None
        kind, detail = said
        return Provenance(Kind(kind) if kind else None, detail)

    def _rgb(self, height: int, width: int) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        data = self._read(height * width * 3)
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def _read(self, count: int) -> bytes:
        data = self._answers.read(count)
        if len(data) < count:
            raise self._lost()
        return data

    def _lost(self) -> ImageUnreadable:
        self._is_lost = True
        if self._is_late:
            return ImageUnreadable(f"took longer than {self._timeout_s:g} s (--timeout)")
        return ImageUnreadable("the decoder crashed on it")

    @property
    def _answers(self) -> IO[bytes]:
        return cast(IO[bytes], self._process.stdout)
