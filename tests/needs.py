"""What a test needs of the machine: without it, it is skipped, or fails where CI installs it."""

from __future__ import annotations

import os

import pytest


def need(condition: object, what: str) -> None:
    """Go on if it is there, which in CI it must be."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what} is needed: see scripts/ci-packages")
        pytest.skip(f"no {what}")
