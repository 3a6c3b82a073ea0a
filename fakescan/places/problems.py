"""What the libraries raise -> one reason, and whether to try again.

Their own messages are not shown: some quote a signed address, or a header.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

GONE = "the object is gone"
BUSY = {"429", "500", "502", "503", "504", "SlowDown", "ServiceUnavailable", "InternalError"} | {
    *("RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException"),
    *("RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted"),
}
REASONS = {
    "the credentials have expired": {
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    },
    "the credentials are not valid there": {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity", "401"),
    },
    "no permission to read it": {"AccessDenied", "AllAccessDisabled", "403", "Forbidden"},
    "it is in another region; set AWS_DEFAULT_REGION": {
        *("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "307", "Redirect"),
        *("IllegalLocationConstraintException", "TemporaryRedirect"),
    },
    "no such bucket": {"NoSuchBucket"},
    GONE: {"NoSuchKey", "404", "NotFound"},
    "the object changed while it was read": {"PreconditionFailed", "412"},
    "the object is archived: restore it first": {"InvalidObjectState"},
}
"""What codes of S3 and of HTTP say. Source: Amazon S3 API Reference, "Error responses"."""
NAMES = {
    "NoCredentialsError": ("no credentials were found", False),
    "PartialCredentialsError": ("the credentials are incomplete", False),
    "ProfileNotFound": ("there is no such AWS profile", False),
    "TokenRetrievalError": ("the credentials have expired", False),
    "SSOTokenLoadError": ("the credentials have expired", False),
    "InvalidRegionError": ("AWS_DEFAULT_REGION is no region", False),
    "EndpointConnectionError": ("the store cannot be reached", True),
    "ConnectionClosedError": ("the connection was cut", True),
    "ResponseStreamingError": ("the connection was cut", True),
    "ClientPayloadError": ("the connection was cut", True),
    "IncompleteRead": ("the connection was cut", True),
    "IncompleteReadError": ("the connection was cut", True),
    "ServerDisconnectedError": ("the connection was cut", True),
    "ClientConnectorError": ("the store cannot be reached", True),
    "ClientOSError": ("the connection was cut", True),
    "InvalidURL": ("not an address", False),
    "InvalidUrlClientError": ("not an address", False),
    "ParamValidationError": ("not a valid name for a bucket or an object", False),
}
"""What classes of botocore and aiohttp say, by name, since neither may be installed."""
TIMEOUTS = ("ReadTimeoutError", "ConnectTimeoutError", "SocketTimeoutError", "FSTimeoutError")
TOO_SLOW = "the store did not answer in time"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in a store could not be had."""

    reason: str
    """In a few words, without any secret."""
    is_passing: bool = False
    """Whether it may be gone the next time."""


class ShortRead(Exception):  # noqa: N818
    """Fewer bytes came than were announced."""


def problem_of(error: BaseException) -> Problem:
    """What an exception of a store's library says."""
    chain = list(_causes(error))
    for e in chain:
        if (code := _code(e)) and (found := _by_code(code)):
            return found
    for e in chain:
        if found := _by_kind(e):
            return found
    return Problem(f"it cannot be read ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    e: BaseException | None = error
    while e is not None and e not in seen:
        yield e
        seen.append(e)
        e = e.__cause__ or e.__context__


def _code(e: BaseException) -> str | None:
    """S3's code, or HTTP's status as text."""
    response = getattr(e, "response", None)
    if isinstance(response, dict):  # botocore
        code = response.get("Error", {}).get("Code")
        return str(code) if code else None
    status: Any = getattr(response, "status_code", None) or getattr(e, "status", None)
    status = status or getattr(e, "status_code", None) or getattr(e, "code", None)
    is_status = isinstance(status, int | str) and re.fullmatch(r"[1-5]\d\d", str(status))
    return str(status) if is_status else None


def _by_code(code: str) -> Problem | None:
    if code in BUSY:
        return Problem(f"the store is busy ({code})", is_passing=True)
    return next((Problem(why) for why, codes in REASONS.items() if code in codes), None)


def _by_kind(e: BaseException) -> Problem | None:
    name = type(e).__name__
    if name in NAMES:
        return Problem(*NAMES[name])
    if name in TIMEOUTS or isinstance(e, TimeoutError | asyncio.TimeoutError):
        return Problem(TOO_SLOW, is_passing=True)
    if isinstance(e, ShortRead | ConnectionError):
        return Problem("the connection was cut", is_passing=True)
    if isinstance(e, FileNotFoundError):
        return Problem(GONE)
    if isinstance(e, PermissionError):
        return Problem("no permission to read it")
    return None
