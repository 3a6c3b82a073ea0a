"""How stores are asked: how many requests at once, how patiently, and how often again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fakescan.errors import ConfigError, PlaceError
from fakescan.places.problems import Problem, problem_of

T = TypeVar("T")

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 20.0
"""Waits double from the first to the longest, each drawn anew between zero and that, so that
readers that were refused together do not come back together. Source: M. Brooker, "Exponential
Backoff And Jitter", AWS Architecture Blog, 2015."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How a store is asked."""

    readers: int = 16
    """Objects that are read at once."""
    attempts: int = 6
    """Times that one request is made before it counts as failed."""
    timeout_s: float = 60.0
    """Seconds that one attempt may take, with all its bytes."""

    def __post_init__(self) -> None:
        for name in ("readers", "attempts", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: must be positive, got {getattr(self, name)}")


class PlaceProblem(Exception):  # noqa: N818
    """Something in a store that could not be had; its text is the reason."""

    def __init__(self, problem: Problem, attempts: int) -> None:
        again = f" ({attempts} attempts)" if problem.is_passing and attempts > 1 else ""
        super().__init__(problem.reason + again)
        self.problem = problem


def patiently(
    ask: Callable[[], T], access: Access, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Ask a store, again after a while when the problem may pass.

    Raises:
        PlaceProblem: it did not pass, or is of another kind.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    retrying = Retrying(
        stop=stop_after_attempt(access.attempts),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        retry=retry_if_exception(lambda e: problem_of(e).is_passing),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(ask)
    except PlaceError:
        raise
    except Exception as e:  # the libraries raise what they like; a bug shows its class
        raise PlaceProblem(problem_of(e), access.attempts) from e
