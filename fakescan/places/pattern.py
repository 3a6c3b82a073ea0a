"""Patterns of places in stores -> the objects that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from fakescan.places.access import Access
from fakescan.places.store import Entry, store_of
from fakescan.places.uri import spread

MAGIC = re.compile(r"[*?\[{]")


def find_objects(pattern: str, access: Access) -> Iterator[Entry]:
    """Yield the objects that a URI names, and all below it where it is a folder.

    Args:
        pattern: may hold braces, as in Bash, and `*`, `?` and `[...]`, which match `/` too.
        access: to the store.

    Raises:
        PlaceError: there is no such store, or braces stand for too many names.
        PlaceProblem: an object that is named is not there, or cannot be looked at.
    """
    for uri in spread(pattern):
        store = store_of(uri, access)
        magic = MAGIC.search(uri)
        if magic is None:
            entry = store.look(uri)
            yield from store.entries(uri) if entry is None else (entry,)
        else:
            found = store.entries(fixed_folder(uri))
            yield from (entry for entry in found if fnmatchcase(entry.uri, uri))


def fixed_folder(pattern: str) -> str:
    """The folder of a path or a URI, as far as no pattern begins."""
    return MAGIC.split(pattern)[0].rpartition("/")[0]
