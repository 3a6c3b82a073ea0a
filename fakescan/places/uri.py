"""URIs: which texts are some, what they may be shown as, and which library reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from fakescan.errors import PlaceError

URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
"""At least two letters: one letter and a colon is a drive."""
USER = re.compile(r"(?<=://)[^/]*@")
SECRET = re.compile(
    r"(?<=[?&])(?P<name>[^=&#]*(?:sig|token|key|secret|passw|credential|auth)[^=&#]*)=[^&#]*", re.I
)
"""A parameter of a signed address, by the names that S3, Azure, Google and others use."""
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "s3": "fakescan[remote]",
        "s3a": "fakescan[remote]",
        "gs": "gcsfs",
        "gcs": "gcsfs",
        "az": "adlfs",
        "abfs": "adlfs",
        "abfss": "adlfs",
        "http": "fakescan[remote]",
        "https": "fakescan[remote]",
        "hf": "huggingface_hub",
        "memory": "fakescan[remote]",
    }
)
"""Schemes, and what to install for each."""
MOST = 1_000_000
"""Names that one brace pattern may stand for."""
WEB = ("http", "https")
"""Schemes without folders."""


def is_uri(text: str) -> bool:
    """Whether a text names a place by scheme, rather than a path on this machine."""
    return URI.match(text) is not None


def spread(text: str) -> list[str]:
    """What a brace pattern stands for, as in Bash: `a-{00..12}.tar`, `{train,val}/a.tar`, or both.

    A text without one stands for itself.

    Raises:
        PlaceError: for more than `MOST` names, or a library is missing.
    """
    if "{" not in text:
        return [text]
    try:
        import bracex

        return bracex.expand(text, limit=MOST)
    except ImportError as e:
        raise PlaceError(f"{shown(text)}: braces need more: pip install 'fakescan[remote]'") from e
    except bracex.ExpansionLimitException as e:
        raise PlaceError(f"{shown(text)}: more than {MOST} names") from e


def scheme_of(uri: str) -> str:
    """The scheme, lower case.

    Raises:
        PlaceError: it is none that can be read.
    """
    found = URI.match(uri)
    scheme = found["scheme"].lower() if found else ""
    if scheme not in LIBRARIES:
        known = ", ".join(f"{name}://" for name in LIBRARIES if name != "memory")
        raise PlaceError(f"{shown(uri)}: no place that can be read; known: {known}")
    return scheme


def shown(uri: str) -> str:
    """A URI as it may be printed and stored: without passwords and signatures."""
    return SECRET.sub(r"\g<name>=...", USER.sub("", uri))


def name_of(uri: str) -> str:
    """What a URI's object is called, for its suffix: on the web, without parameters."""
    return urlsplit(uri).path if uri.lower().startswith(("http:", "https:")) else uri
