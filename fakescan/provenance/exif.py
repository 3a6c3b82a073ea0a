"""EXIF: the program that wrote the file, its comment, and, only when asked for, the place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from fakescan.provenance.recipe import parameters
from fakescan.provenance.signal import Kind, Signal, line
from fakescan.provenance.vocabulary import is_generator

CODES = {b"ASCII\0\0\0": "latin-1", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}
"""How the first eight bytes of a user comment name its characters."""


def exif_signals(image: Image.Image, *, is_full: bool) -> list[Signal]:
    """What the EXIF block of an open image says."""
    exif = image.getexif()
    signals = software(exif.get(Base.Software), "exif")
    comment = comment_text(exif.get_ifd(IFD.Exif).get(Base.UserComment))
    signals += parameters(comment, "exif", is_full=is_full)
    if is_full and (place := _position(exif.get_ifd(IFD.GPSInfo))):
        signals.append(Signal("gps", place))
    return signals


def software(name: object, place: str) -> list[Signal]:
    """A signal when a software field names a generator."""
    if not isinstance(name, str) or not is_generator(name.rstrip("\0")):
        return []
    return [Signal(place, f"made with {line(name)}", Kind.GENERATED)]


def comment_text(comment: object) -> str:
    """The text of a user comment; empty when it has none."""
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes):
        return ""
    body, code = comment[8:], CODES.get(comment[:8], "")
    if code == "utf-16":  # writers disagree on the order; the high byte of Latin letters is zero
        code = "utf-16-be" if body[:200:2].count(0) >= body[1:200:2].count(0) else "utf-16-le"
    return body.decode(code, "replace").rstrip("\0 ") if code else ""


def _position(gps: Mapping[int, Any]) -> str:
    try:
        north = _degrees(gps[GPS.GPSLatitude]) * (-1 if gps[GPS.GPSLatitudeRef] == "S" else 1)
        east = _degrees(gps[GPS.GPSLongitude]) * (-1 if gps[GPS.GPSLongitudeRef] == "W" else 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # absent, or not an angle
        return ""
    return f"{north:.5f}, {east:.5f}"


def _degrees(angle: tuple[float, float, float]) -> float:
    degrees, minutes, seconds = (float(part) for part in angle)
    return degrees + minutes / 60 + seconds / 3600
