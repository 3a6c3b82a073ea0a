"""A reader of metadata that crashes or hangs costs what the file says of itself, not its score."""

from dataclasses import replace

import pytest
from PIL import Image

from fakescan.image import Preprocess
from fakescan.records import Summary, Verdict
from fakescan.scan.cache import NAME, ScoreCache
from fakescan.scan.crop import Extras
from fakescan.scan.decode import Children
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession
from provenances import encoded

CRASH = "import os; os.abort()"
HANG = "import time; time.sleep(600)"
CRASHED = "metadata: not read, the reader crashed"


def with_manifest():
    """A JPEG with the segment in which manifests stand, so that the library is asked for it."""
    plain = encoded("JPEG")
    return plain[:2] + b"\xff\xeb\0\x0bJP\0\1\0\0\0\1\0" + plain[2:]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Puts another library in the place of c2pa, where child processes import it from."""

    def place(code):
        folder = tmp_path / "library"
        folder.mkdir()
        (folder / "c2pa.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        return folder / "c2pa.py"

    return place


def job(**settings):
    extras = Extras(provenance="brief", hashes=True, thumbnails=True)
    return Job(preprocess=Preprocess(image_px=16), extras=extras, **settings)


def test_the_library_is_not_asked_where_there_is_no_manifest(library):
    library(CRASH)
    with Children(job()) as children:
        assert children.decode(encoded("JPEG")).provenance is None


def test_a_crash_leaves_the_pixels_and_the_next_file_gets_a_new_child(library):
    library(CRASH)
    data = with_manifest()
    with Children(Job(preprocess=Preprocess(image_px=16))) as children:
        plain = children.decode(data)
    with Children(job()) as children:
        for _ in range(2):
            found = children.decode(data)
            assert (found.provenance.kind, found.provenance.detail) == ("undecided", CRASHED)
            assert (found.pixels == plain.pixels).all()
            assert (found.width, found.height, len(found.sha256)) == (64, 48, 64)
            assert found.thumbnail[8:12] == b"WEBP"


def test_a_hang_leaves_the_pixels_too(library):
    library(HANG)
    with Children(job(timeout_s=2.0)) as children:
        found = children.decode(with_manifest())
        assert found.provenance.detail == "metadata: not read, took longer than 2 s (--timeout)"
        assert found.pixels.shape == (1, 16, 16, 3)
        assert children.decode(encoded("PNG")).provenance is None


def test_a_bug_in_a_reader_is_a_bug(library):
    library("raise AssertionError('oops')")
    with Children(job()) as children, pytest.raises(RuntimeError, match="oops"):
        children.decode(with_manifest())


def test_a_scan_scores_the_image_and_looks_again_next_time(tmp_path, tiny, library, cache_folder):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(with_manifest())
    Image.new("RGB", (40, 30)).save(folder / "b.png")
    session = OnnxSession(tiny)

    def run():
        summary = Summary()
        with ScoreCache(cache_folder / NAME, scorer_of(session)) as cache:
            settings = ScanSettings(workers=1)
            return list(scan([str(folder)], session, settings, summary, cache=cache)), summary

    crashing = library(CRASH)
    (first, second), summary = run()
    assert (first.provenance, first.provenance_detail) == ("undecided", CRASHED)
    assert Verdict.ERROR not in (first.verdict, second.verdict)
    assert summary.cached == 0
    crashing.unlink()
    (again, _), summary = run()
    assert again == replace(first, provenance=None, provenance_detail=None)
    assert summary.cached == 2
