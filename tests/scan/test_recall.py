import io
import os
import sqlite3
import tempfile
import time
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakescan import Detector
from fakescan.records import Summary
from fakescan.scan.archive import ArchiveLimits
from fakescan.scan.cache import NAME, ScoreCache, contents_of
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.scan.selection import Selection
from fakescan.session import OnnxSession

OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture(scope="module")
def session(tiny):
    return OnnxSession(tiny)


def encoded(grey, kind="BMP", size=(20, 20)):
    stream = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(stream, kind)
    return stream.getvalue()


def place(path, data, mtime_ns=OLD_NS):
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.fixture
def folder(tmp_path):
    """Six images, all of one size in bytes, none of them new."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(6):
        place(folder / f"{i}.bmp", encoded(40 * i))
    return folder


def run(targets, session, cache_folder=None, **wanted):
    summary = Summary()
    with ExitStack() as stack:
        cache = None
        if cache_folder is not None:
            cache = stack.enter_context(ScoreCache(cache_folder / NAME, scorer_of(session)))
        names = [str(t) for t in targets]
        chosen = ScanSettings(workers=1, **wanted)
        return list(scan(names, session, chosen, summary, cache=cache)), summary


def test_a_second_scan_gives_the_same_findings_and_scores_nothing(folder, session, cache_folder):
    plain, _ = run([folder], session)
    first, summary = run([folder], session, cache_folder)
    assert (first, summary.cached) == (plain, 0)
    again, summary = run([folder], session, cache_folder)
    assert (again, summary.cached, summary.is_complete) == (plain, 6, True)


def test_an_unchanged_file_is_not_even_read(folder, session, cache_folder):
    plain, _ = run([folder], session, cache_folder)
    for path in folder.iterdir():  # other bytes, which nobody looks at
        place(path, b"x" * path.stat().st_size)
    assert run([folder], session, cache_folder)[0] == plain


def test_verdicts_follow_the_threshold_of_the_day(folder, session, cache_folder):
    run([folder], session, cache_folder)
    for threshold in (0.1, 0.9):
        cached, summary = run([folder], session, cache_folder, threshold=threshold)
        assert cached == run([folder], session, threshold=threshold)[0]
        assert summary.cached == 6


def test_hashes_come_out_of_the_cache_when_asked_for(folder, session, cache_folder):
    run([folder], session, cache_folder)
    cached, summary = run([folder], session, cache_folder, hashes=True)
    assert cached == run([folder], session, hashes=True)[0]
    assert summary.cached == 6


def test_thumbnails_are_made_anew_and_nothing_is_scored(folder, session, cache_folder):
    run([folder], session, cache_folder)
    cached, summary = run([folder], session, cache_folder, thumbnails=True)
    assert cached == run([folder], session, thumbnails=True)[0]
    assert summary.cached == 6


@pytest.fixture
def told(folder):
    """The six images and one that says where it comes from."""
    recipe = PngInfo()
    recipe.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), "teal").save(stream, "PNG", pnginfo=recipe)
    place(folder / "told.png", stream.getvalue())
    return folder


def test_provenance_comes_out_of_the_cache_without_decoding(told, session, cache_folder):
    plain, _ = run([told], session, cache_folder)
    assert [f.provenance for f in plain] == 6 * [None] + ["generated"]
    for path in told.iterdir():  # other bytes, which nobody looks at
        place(path, b"x" * path.stat().st_size)
    assert run([told], session, cache_folder)[0] == plain
    off, summary = run([told], session, cache_folder, provenance="off")
    assert off == [replace(f, provenance=None, provenance_detail=None) for f in plain]
    assert summary.cached == 7


def test_provenance_is_looked_for_where_no_scan_did_so_yet(told, session, cache_folder):
    for depth in ("off", "full", "brief", "off", "full", "brief"):
        found, summary = run([told], session, cache_folder, provenance=depth)
        assert found == run([told], session, provenance=depth)[0]
    assert summary.cached == 7
    for path in told.iterdir():  # what the brief looks found is still known
        place(path, b"x" * path.stat().st_size)
    assert run([told], session, cache_folder)[0] == found


def test_a_second_scan_with_perturbations_reads_nothing(folder, session, cache_folder):
    wanted = {"perturbations": ("jpeg:75", "blur:1")}
    plain, _ = run([folder], session, **wanted)
    first, summary = run([folder], session, cache_folder, **wanted)
    assert (first, summary.cached) == (plain, 0)
    for path in folder.iterdir():  # other bytes, which nobody looks at
        place(path, b"x" * path.stat().st_size)
    again, summary = run([folder], session, cache_folder, **wanted)
    assert (again, summary.cached) == (plain, 6)
    fewer, summary = run([folder], session, cache_folder, perturbations=("BLUR:1.0",))
    assert summary.cached == 6
    assert [f.perturbed for f in fewer] == [f.perturbed[1:] for f in plain]
    alone, summary = run([folder], session, cache_folder)
    assert summary.cached == 6
    assert alone == [replace(f, perturbed=(), stable=None) for f in plain]


def test_only_what_is_new_under_perturbations_is_scored(folder, tiny, session, cache_folder):
    asked = []

    class Counting(OnnxSession):
        def logits(self, crops):
            asked.append(len(crops))
            return super().logits(crops)

    counting = Counting(tiny)
    for names, new in (((), 1), (("jpeg:75",), 1), (("jpeg:75", "blur:1", "blur:2"), 2)):
        asked.clear()
        found, summary = run([folder], counting, cache_folder, perturbations=names)
        assert (asked, summary.cached) == ([new] * 6, 0)
        assert found == run([folder], session, perturbations=names)[0]
    asked.clear()
    run([folder], counting, cache_folder, perturbations=("jpeg:75",), thumbnails=True)
    assert asked == []


def test_a_file_that_moved_is_known_by_its_content(folder, session, cache_folder):
    run([folder], session, cache_folder)
    moved = folder.rename(folder.with_name("moved"))
    for _ in range(2):
        cached, summary = run([moved], session, cache_folder)
        assert cached == run([moved], session)[0]
        assert summary.cached == 6


def test_copies_within_a_scan_are_scored_once(folder, session, cache_folder):
    for i in range(6):
        place(folder / f"copy{i}.bmp", encoded(40 * i))
    for batch_size in (1, 5):
        found, summary = run(
            [folder], session, cache_folder / str(batch_size), batch_size=batch_size
        )
        assert found == run([folder], session)[0]
        assert summary.cached == 6


def test_a_new_file_of_the_same_size_and_time_is_scored_again(folder, session, cache_folder):
    now = time.time_ns()
    for grey in (0, 255):  # as an editor does that saves twice in one tick of the clock
        (folder / "0.bmp").write_bytes(encoded(grey))
        os.utime(folder / "0.bmp", ns=(now, now))
        cached, _ = run([folder / "0.bmp"], session, cache_folder)
        assert cached == run([folder / "0.bmp"], session)[0]


def test_errors_are_found_anew(folder, session, cache_folder):
    place(folder / "0.bmp", b"BM")
    for _ in range(2):
        cached, summary = run([folder], session, cache_folder)
        assert cached == run([folder], session)[0]
    assert summary.cached == 5


def test_limits_hold_for_what_is_known(folder, session, cache_folder):
    run([folder], session, cache_folder)
    for wanted in ({"max_megapixels": 1e-6}, {"selection": Selection(max_filesize=1e-6)}):
        targets = sorted(folder.iterdir())
        cached, summary = run(targets, session, cache_folder, **wanted)
        assert cached == run(targets, session, **wanted)[0]
        assert (summary.cached, summary.scored) == (0, 0)


def test_images_in_archives_are_known_by_their_content(folder, session, cache_folder):
    archive = folder / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for i in range(8):
            file.writestr(f"{i}.bmp", encoded(15 + 30 * i))
    wanted = {"archives": ArchiveLimits(), "selection": Selection(archives=True)}
    plain, _ = run([folder], session, **wanted)
    for known in (0, 14):
        cached, summary = run([folder], session, cache_folder, **wanted)
        assert (cached, summary.cached) == (plain, known)


@pytest.mark.parametrize("damage", ["DROP TABLE files", "DROP TABLE scores"])
def test_a_cache_that_fails_on_the_way_is_one_warning(folder, session, cache_folder, damage):
    run([folder], session, cache_folder)
    db = sqlite3.connect(cache_folder / NAME)
    db.execute(damage)
    db.close()
    found, summary = run([folder], session, cache_folder)
    assert found == run([folder], session)[0]
    assert [w.count("no such table") for w in summary.warnings] == [1]
    assert summary.is_complete


def test_a_row_that_was_given_is_in_the_cache(folder, session, cache_folder):
    path = cache_folder / NAME
    with ScoreCache(path, scorer_of(session)) as cache:
        findings = scan([str(folder)], session, ScanSettings(workers=1), Summary(), cache=cache)
        for count, _ in enumerate(islice(findings, 4), 1):
            assert contents_of(path).files == count
        findings.close()
    _, summary = run([folder], session, cache_folder)
    assert summary.cached == 4


def test_a_file_that_changes_while_it_waits_is_scored_as_it_is_then(folder, session, cache_folder):
    for i in range(6, 40):
        place(folder / f"{i}.bmp", encoded(0))
    with ScoreCache(cache_folder / NAME, scorer_of(session)) as cache:
        findings = scan([str(folder)], session, ScanSettings(workers=1), Summary(), cache=cache)
        next(findings)  # all were seen by now, and few were read
        for i in range(30, 40):
            place(folder / f"{i}.bmp", encoded(255) if i % 2 else encoded(255)[:600], OLD_NS + 1)
        found = {Path(f.path).stem: f for f in findings}
    for i in range(30, 40):
        assert found[str(i)].verdict == ("fake" if i % 2 else "error")
        assert (found[str(i)].error or "").startswith("" if i % 2 else "damaged: ")
    assert run([folder], session, cache_folder)[0] == run([folder], session)[0]


CONTENTS = [encoded(0), encoded(255), encoded(90), encoded(200, "PNG"), b"broken", b""]
FOLDERS = st.dictionaries(
    st.sampled_from(["a.bmp", "b.png", "=c.bmp", "d\n.png"]), st.sampled_from(range(len(CONTENTS)))
)


@given(steps=st.lists(FOLDERS, min_size=2, max_size=3), is_new=st.booleans())
@settings(deadline=None, max_examples=6)
def test_with_a_cache_is_as_without(tiny, session, steps, is_new):
    detector = Detector(tiny)
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "images")
        folder.mkdir()
        before = {}
        for step, wanted in enumerate(steps):
            for name in before.keys() - wanted:
                (folder / name).unlink()
            for name, content in wanted.items():
                if before.get(name) != content:
                    (folder / name).write_bytes(CONTENTS[content])
                    if not is_new:
                        time_ns = OLD_NS + step
                        os.utime(folder / name, ns=(time_ns, time_ns))
            before = wanted
            cached, _ = run([folder], session, Path(top))
            plain = detector.score(sorted(map(str, folder.iterdir())))
            assert [replace(f, detector="") for f in cached] == [
                replace(f, detector="") for f in plain
            ]
