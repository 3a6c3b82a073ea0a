"""The image formats that a scan knows: their suffixes, and how their first bytes look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

HEAD_BYTES = 64
"""Enough for every rule below."""
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
"""Source: ISO/IEC 23008-12 annex B and the AV1 image file format, section 6."""


@dataclass(frozen=True, slots=True)
class Format:
    """One image format."""

    name: str
    """As in `Finding.format` and in Pillow."""
    suffixes: tuple[str, ...]
    """Lower case, with the dot."""
    is_start: Callable[[bytes], bool]
    """True for the first `HEAD_BYTES` of such a file."""


def sniff(head: bytes) -> str | None:
    """Name of the format that a file begins like; None for anything else."""
    return next((f.name for f in FORMATS if f.is_start(head)), None)


def has_image_suffix(path: str) -> bool:
    """True when the name says that this is an image."""
    return PurePath(path).suffix.lower() in SUFFIXES


def is_archive(path: str) -> bool:
    """True when the name says that this is an archive that a scan can look into."""
    return path.lower().endswith(ARCHIVES)


def _brands(head: bytes) -> frozenset[bytes]:
    """Major and compatible brands of an ISO base media file."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return frozenset((head[8:12], *(head[i : i + 4] for i in range(16, end, 4))))


def _is_avif(head: bytes) -> bool:
    return bool(_brands(head) & AVIF_BRANDS)


def _is_heif(head: bytes) -> bool:
    return bool(_brands(head) & HEIF_BRANDS) and not _is_avif(head)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_bmp(head: bytes) -> bool:
    """Two letters are not enough: the header's own size and the unused bytes must fit too."""
    sizes = (12, 16, 40, 52, 56, 64, 108, 124)
    return (
        head[:2] == b"BM"
        and head[6:10] == bytes(4)
        and int.from_bytes(head[14:18], "little") in sizes
    )


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), _starts(b"\xff\xd8\xff")),
    Format("PNG", (".png", ".apng"), _starts(b"\x89PNG\r\n\x1a\n")),
    Format("WEBP", (".webp",), _is_webp),
    Format("AVIF", (".avif", ".avifs"), _is_avif),
    Format(
        "TIFF",
        (".tif", ".tiff"),
        _starts(b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"),
    ),
    Format("BMP", (".bmp", ".dib"), _is_bmp),
    Format("GIF", (".gif",), _starts(b"GIF87a", b"GIF89a")),
    Format("HEIF", (".heic", ".heif", ".hif"), _is_heif),
)
SUFFIXES = frozenset(suffix for format_ in FORMATS for suffix in format_.suffixes)
ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (*ZIP, *TAR)
"""Ends of names, lower case."""
