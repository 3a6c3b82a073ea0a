"""Names of files from a list, as `find`, `git` and editors write them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fakescan.errors import ConfigError


def read_list(source: str, *, is_null: bool) -> list[str]:
    """Read names of files and folders.

    Args:
        source: the list's own file; `-` for standard input.
        is_null: names end with a null character, so that any name can be listed; otherwise each is
            a line, and empty lines are none.

    Raises:
        ConfigError: the list cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as e:
        raise ConfigError(f"{source}: cannot be read ({e.strerror})") from e
    names = data.split(b"\0") if is_null else [n.removesuffix(b"\r") for n in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]
