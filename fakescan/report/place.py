"""Where a finding's file lies, as tools that annotate a repository want it."""

from __future__ import annotations

import os
from urllib.parse import quote


def inside(path: str, root: str) -> str | None:
    """The path below the root, with forward slashes and without dots; None outside of it.

    Args:
        path: absolute, or starting from the root.
        root: an absolute folder.
    """
    try:
        below = os.path.relpath(_absolute(path, root), root)
    except ValueError:  # another drive
        return None
    if below == os.pardir or below.startswith(os.pardir + os.sep):
        return None
    return below.replace(os.sep, "/")


def relative_uri(below: str) -> str:
    """A relative reference to what `inside` gave; any byte is encoded."""
    return quote(os.fsencode(below))


def file_uri(path: str, root: str) -> str:
    """A `file:` URI of any file; any byte is encoded."""
    absolute = _absolute(path, root).replace(os.sep, "/")
    return "file://" + quote(os.fsencode("/" + absolute.lstrip("/")))


def _absolute(path: str, root: str) -> str:
    return os.path.normpath(os.path.join(root, path))  # noqa: PTH118
