"""What the house rules are checked on: the repository's own files."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """Top folder of the repository."""
    return Path(__file__).resolve().parents[2]
