"""One part of a scan of many, for any scheduler: which images are its own, and of what listing.

Every shard lists everything and takes what a hash of the path says, so that shards need not know
of each other. A path is hashed as reports show it, and must be the same in every shard.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

from fakescan.errors import ConfigError
from fakescan.records import Listing, Shard

Source = TypeVar("Source")

DIGEST_BITS = 128
WRITTEN = re.compile(r"(\d{1,7})/(\d{1,7})")


def parse_shard(text: str) -> Shard:
    """Read `i/n`.

    Raises:
        ConfigError: it is none, or the number is not from 1 to the count.
    """
    found = WRITTEN.fullmatch(text.strip())
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(f"shard: {text!r}; it is I/N, such as 3/8, with I from 1 to N")
    return Shard(number=number, count=count)


def takes(shard: Shard, path: str) -> bool:
    """Whether an image is of a shard: a member of an archive is where the archive is."""
    return _hash(path) % shard.count == shard.number - 1


def sharded(
    sources: Iterable[tuple[str, Source]], shard: Shard, listing: Listing
) -> Iterator[Source]:
    """Yield what is of a shard, and count and hash all.

    Args:
        sources: with the path of each.
        shard: of the scan.
        listing: grows; its digest does not depend on the order.
    """
    for path, source in sources:
        hashed = _hash(path)
        listing.count += 1
        listing.digest = (listing.digest + hashed) % (1 << DIGEST_BITS)
        if hashed % shard.count == shard.number - 1:
            yield source


def _hash(path: str) -> int:
    digest = hashlib.blake2b(os.fsencode(path), digest_size=DIGEST_BITS // 8).digest()
    return int.from_bytes(digest)
