"""One file, an index and labels -> the label that the file is most like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fakescan.errors import ConfigError
from fakescan.loras.attribute import UNKNOWN_BELOW, Attribution, attribute
from fakescan.loras.collection import Collection, Member
from fakescan.loras.family import are_comparable
from fakescan.loras.index import asked_entry
from fakescan.loras.matrix import compare_all
from fakescan.loras.reading import sketch_of
from fakescan.loras.sketch import Projector


def ask(
    collection: Collection,
    path: Path,
    labels: Mapping[str, str],
    *,
    groups: frozenset[str] | None = None,
    is_exact: bool | None = None,
    unknown_below: float = UNKNOWN_BELOW,
) -> tuple[Attribution, list[Member]]:
    """Attribute a file by the labelled files of an index.

    Args:
        collection: the index.
        path: of the file; copies of it in the index are left out.
        labels: by path below the indexed folder.
        groups: only modules of these; None for all.
        is_exact: by factors or by sketches; None decides by the cost.
        unknown_below: probability from which a label is named.

    Raises:
        ConfigError: no labelled file can be compared.
        LoraError: the file cannot be used.
    """
    sketch = sketch_of(path, Projector(collection.contents.sketch_size))
    query = Member(asked_entry(path), sketch)
    members = [
        m
        for m in collection.members()
        if m.path in labels
        and are_comparable(m.family, query.family)
        and not (m.sketch.keys == sketch.keys and np.array_equal(m.sketch.values, sketch.values))
    ]
    found = compare_all(collection, [*members, query], groups=groups, is_exact=is_exact)
    asked = found.centred[-1, :-1]
    if np.isnan(asked).all():
        raise ConfigError(f"{path}: no labelled file of the index can be compared with it")
    names = [labels[m.path] for m in members]
    known = found.centred[:-1, :-1]
    return attribute(known, names, asked, unknown_below=unknown_below), members
