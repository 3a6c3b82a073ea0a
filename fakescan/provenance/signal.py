"""One statement of a file about its origin, and how several become one word and one line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

READER = 1
"""Grows when the same file would be described in other words, or others be found in it."""
MAX_TEXT = 300
"""Characters of one statement; whoever wrote the file chose them."""
MAX_PROMPT = 2000
"""Characters of one prompt."""


class Kind(StrEnum):
    """What a file says how it came about, the strongest statement first."""

    GENERATED = "generated"
    COMPOSITE = "composite"
    CAPTURED = "captured"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Signal:
    """One statement."""

    place: str
    """Where in the file it stands, such as c2pa."""
    text: str
    """What it says; one printable line."""
    kind: Kind | None = None
    """None for what says nothing of how the image came about."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that a file says."""

    kind: Kind | None
    """Of the strongest statement."""
    detail: str
    """Every statement with its place, in one printable line."""
    is_lasting: bool = True
    """False when it could not be read, which another attempt may change."""


def combine(signals: Iterable[Signal]) -> Provenance | None:
    """The strongest kind and all texts; None when nothing is said."""
    said = list(dict.fromkeys(signals))
    if not said:
        return None
    kinds = {signal.kind for signal in said}
    strongest = next((kind for kind in Kind if kind in kinds), None)
    return Provenance(strongest, "; ".join(f"{s.place}: {s.text}" for s in said))


def unread(reason: str) -> Provenance:
    """What is known of a file whose statements could not be read.

    Args:
        reason: goes on after "not read, ".
    """
    return Provenance(Kind.UNDECIDED, f"metadata: not read, {reason}", is_lasting=False)


def to_text(said: Provenance | None) -> str:
    """As JSON: `null` for nothing, else `[kind, detail]`."""
    return json.dumps(said and [said.kind, said.detail])


def from_text(text: str | None) -> Provenance | None:
    """What `to_text` made into text; None when there is none."""
    said = json.loads(text) if text is not None else None
    if said is None:
        return None
    kind, detail = said
    return Provenance(Kind(kind) if kind else None, detail)


def line(text: str, most: int = MAX_TEXT) -> str:
    """Text from a file as one printable line of limited length."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 2 * most])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"
