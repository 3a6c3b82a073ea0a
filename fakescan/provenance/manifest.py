"""C2PA: a signed statement, its signature and its bond to the image checked offline.

No list of trusted signers is used: a valid signature says that the statement belongs to this
file and was not changed, not who signed it.
Source: C2PA, "Technical Specification 2.2", sections 11 (embedding) and 15 (validation).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL import Image

from fakescan.provenance.signal import Kind, Signal, line
from fakescan.provenance.vocabulary import source_type

if TYPE_CHECKING:
    import c2pa

TYPES = {
    name: f"image/{name.lower()}" for name in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF")
} | {"MPO": "image/jpeg"}
TIFF_TAG = 0xCD41
BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""User type of the box that holds a manifest in AVIF and HEIF files."""
MAX_ANCESTORS = 32
UNKNOWN_SIGNER = "signingCredential.untrusted"


def manifest_signals(image: Image.Image, source: Path | bytes) -> list[Signal]:
    """What the manifest in a file says.

    Args:
        image: loaded from the source, still open.
        source: the file or its bytes.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        if image.format not in TYPES or not _has_manifest(image, stream):
            return []
        store = _read(TYPES[image.format], stream)
    return [] if store is None else [_signal(store)]


def _has_manifest(image: Image.Image, stream: IO[bytes]) -> bool:
    """True when the image's own structure, up to its end, has a place with a manifest.

    It also spares most scans the loading of the library.
    """
    if image.format in ("JPEG", "MPO"):
        return any(name == "APP11" for name, _ in getattr(image, "applist", ()))
    if image.format == "PNG":
        return any(chunk[0] == b"caBX" for chunk in getattr(image, "private_chunks", ()))
    if image.format == "TIFF":
        return TIFF_TAG in getattr(image, "tag_v2", ())
    if image.format in ("AVIF", "HEIF"):
        return any(kind == b"uuid" and user == BOX for kind, user in _boxes(stream))
    return True


def _boxes(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Type and user type of the file's boxes; a second `ftyp` begins what was appended."""
    start, has_begun = 0, False
    while len(head := _at(stream, start, 32)) >= 8:
        size, kind, user = int.from_bytes(head[:4], "big"), head[4:8], head[8:24]
        if size == 1:  # the size is 64 bits long and follows
            size, user = int.from_bytes(head[8:16], "big"), head[16:32]
        if kind == b"ftyp" and has_begun:
            return
        has_begun = True
        yield kind, user
        if size < 8:  # up to the end of the file, or damaged
            return
        start += size


def _at(stream: IO[bytes], start: int, count: int) -> bytes:
    stream.seek(start)
    return stream.read(count)


def _read(mime: str, stream: IO[bytes]) -> dict[str, Any] | None:
    import c2pa  # 25 MB of library

    stream.seek(0)
    try:
        reader = c2pa.Reader.try_create(mime, stream, context=_context())
        if reader is None:
            return None
        with reader:
            store: dict[str, Any] = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError):
        return {}
    return store


@cache
def _context() -> c2pa.Context:
    import c2pa

    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False}
    return c2pa.Context(c2pa.Settings.from_dict({"verify": verify}))


def _signal(store: dict[str, Any]) -> Signal:
    label = store.get("active_manifest")
    manifest = store.get("manifests", {}).get(label)
    if manifest is None:
        return Signal("c2pa", "a manifest that cannot be read", Kind.UNDECIDED)
    maker, signer = _maker(manifest), _signer(manifest)
    if store.get("validation_state") not in ("Valid", "Trusted"):
        text = f"manifest of {maker}{signer}, not valid for this file ({_failure(store)})"
        return Signal("c2pa", text, Kind.UNDECIDED)
    found = dict(_sources(store, str(label)))
    kind = next((k for k in Kind if k in found), Kind.UNDECIDED)
    said = found.get(kind, "source not stated")
    is_known = store["validation_state"] == "Trusted"
    trust = "signature valid" if is_known else "signature valid, signer not verified"
    return Signal("c2pa", f"{said}, by {maker}{signer}; {trust}", kind)


def _sources(store: dict[str, Any], label: str) -> Iterator[tuple[Kind, str]]:
    """Source types that the actions state, of the manifest and of those it was made from."""
    for _ in range(MAX_ANCESTORS):
        manifest = store["manifests"].get(label, {})
        for action in _actions(manifest):
            if found := source_type(action.get("digitalSourceType")):
                code, kind = found
                is_edit = action.get("action") != "c2pa.created"
                is_part = is_edit and kind is Kind.GENERATED  # generated into an image
                yield (Kind.COMPOSITE if is_part else kind), code
        parents = [
            i for i in manifest.get("ingredients", ()) if i.get("relationship") == "parentOf"
        ]
        label = next((str(i["active_manifest"]) for i in parents if "active_manifest" in i), "")
        if not label:
            return


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", ()):
        if assertion.get("label", "").startswith("c2pa.actions"):
            yield from assertion["data"]["actions"]


def _maker(manifest: dict[str, Any]) -> str:
    infos = manifest.get("claim_generator_info") or [{}]
    return line(infos[0].get("name") or manifest.get("claim_generator") or "an unnamed program", 80)


def _signer(manifest: dict[str, Any]) -> str:
    issuer = (manifest.get("signature_info") or {}).get("issuer")
    return f" (signed: {line(issuer, 80)})" if issuer else ""


def _failure(store: dict[str, Any]) -> str:
    codes = [status.get("code", "") for status in store.get("validation_status", ())]
    return line(next((c for c in codes if c and c != UNKNOWN_SIGNER), "reason not stated"), 80)
