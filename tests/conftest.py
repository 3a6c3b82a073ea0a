"""What tests of several parts share."""

from __future__ import annotations

import pytest
from PIL import Image

from tiny import write_tiny


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the stored reports")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """A folder for caches of this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny detector file: bright is fake, dark is real."""
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def s3():
    """The one S3 server of all tests, since stores that were opened stay open in a process."""
    from stores import s3_with_faults  # a server that few tests need

    with s3_with_faults() as server:
        yield server


@pytest.fixture
def photos(tmp_path):
    """A folder with a dark, a grey and a bright image, a broken one and a text file."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (40, 30), "black").save(folder / "dark.jpg")
    Image.new("RGB", (40, 30), (140, 140, 140)).save(folder / "grey.png")
    Image.new("RGB", (40, 30), "white").save(folder / "sub" / "bright.webp")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "notes.txt").write_text("not an image")
    return folder
