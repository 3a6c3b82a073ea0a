import uuid

import pytest

from fakescan.session import OnnxSession
from stores import Bucket, encoded


@pytest.fixture(scope="session")
def session(tiny):
    return OnnxSession(tiny)


@pytest.fixture
def bucket(s3):
    faults, port = s3
    faults.clear()
    bucket = Bucket(port, f"b-{uuid.uuid4().hex[:12]}", faults)
    yield bucket
    bucket.close()
    faults.clear()


@pytest.fixture
def filled(bucket):
    """A bucket with a dark, a grey and a bright image, a broken one and a text."""
    bucket.put("photos/dark.png", encoded(0))
    bucket.put("photos/grey", encoded(140))
    bucket.put("photos/sub/bright.jpg", encoded(255, "JPEG"))
    bucket.put("photos/broken.png", b"\x89PNG\r\n\x1a\nnothing")
    bucket.put("photos/notes.txt", b"not an image" * 1000)
    return bucket
