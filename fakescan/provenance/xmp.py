"""XMP: the source type that IPTC defines, and the tool that made the file.

Only properties of the image itself count, not those of ingredients or of its history.
Source: Adobe, "XMP Specification Part 1", 7.4; IPTC, "Photo Metadata Standard", 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fakescan.provenance.exif import software
from fakescan.provenance.signal import Signal
from fakescan.provenance.vocabulary import source_type

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
CREATOR_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
MAX_BYTES = 1_000_000
"""Longer packets are not read."""


def xmp_signals(packet: object) -> list[Signal]:
    """What an XMP packet says; nothing when it is none."""
    data = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    if not isinstance(data, bytes) or len(data) > MAX_BYTES:
        return []
    try:
        root = fromstring(data.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return []
    signals = []
    for value in _properties(root, SOURCE_TYPE):
        if found := source_type(value):
            signals.append(Signal("xmp", found[0], found[1]))
    for value in _properties(root, CREATOR_TOOL):
        signals += software(value, "xmp")
    return signals


def _properties(root: Element, name: str) -> Iterator[str]:
    """Values of a property, however it is written."""
    rdf = root if root.tag == f"{RDF}RDF" else root.find(f"{RDF}RDF")
    for description in [] if rdf is None else rdf.findall(f"{RDF}Description"):
        if value := description.get(name):
            yield value
        for element in description.findall(name):
            yield element.get(f"{RDF}resource") or element.text or ""
