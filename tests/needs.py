"""What a test needs of the machine: without it, it is skipped, or fails where CI installs it."""

from __future__ import annotations

import os

import pytest


def need(condition: object, what: str, why: str = "scripts/ci-packages installs it") -> None:
    """Go on if the condition holds.

    Args:
        condition: whether it is there.
        what: is needed.
        why: CI has it.
    """
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what}: needed, and {why}")
        pytest.skip(f"needs {what}")
