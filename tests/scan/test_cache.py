import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.errors import CacheError
from fakescan.scan import cache as cache_module
from fakescan.scan import database
from fakescan.scan.cache import (
    Known,
    ScoreCache,
    Scorer,
    Stamp,
    clear,
    contents_of,
)
from fakescan.scan.database import MIGRATIONS

SCORER = Scorer(name="tiny", detector="ab" * 32, preprocessing="{}", device="cpu")
KNOWN = Known("cd" * 32, 1.25, 640, 480, "JPEG")
STAMP = Stamp(1000, 1_700_000_000_123_456_789)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "scores.sqlite"


def remember(path, scorer=SCORER, known=KNOWN):
    with ScoreCache(path, scorer) as cache:
        cache.remember([known], {"a.jpg": (STAMP, known.sha256)})


def test_what_is_remembered_comes_back_to_another_scan(path):
    remember(path)
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({"a.jpg": STAMP, "b.jpg": STAMP}) == {"a.jpg": KNOWN}
        assert cache.logits([KNOWN.sha256, "00" * 32]) == {(KNOWN.sha256, ""): 1.25}


@pytest.mark.parametrize("stamp", [Stamp(1001, STAMP.mtime_ns), Stamp(1000, STAMP.mtime_ns + 1)])
def test_a_file_that_looks_otherwise_is_not_known(path, stamp):
    remember(path)
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({"a.jpg": stamp}) == {}


@pytest.mark.parametrize("name", ["detector", "preprocessing", "device"])
def test_scores_of_another_scorer_are_not_given(path, name):
    remember(path)
    with ScoreCache(path, replace(SCORER, **{name: "other"})) as cache:
        assert cache.unchanged({"a.jpg": STAMP}) == {}
        assert cache.logits([KNOWN.sha256]) == {}


def test_logits_under_perturbations_come_back_when_asked_for(path):
    remember(path, known=replace(KNOWN, perturbed={"jpeg:75": 0.5, "blur:1": -1.0}))
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": KNOWN}
        found = cache.unchanged({"a.jpg": STAMP}, ["blur:1", "blur:2", "jpeg:75"])["a.jpg"]
        assert list(found.perturbed.items()) == [("blur:1", -1.0), ("jpeg:75", 0.5)]
        assert cache.logits([KNOWN.sha256], ["", "blur:1"]) == {
            (KNOWN.sha256, ""): 1.25,
            (KNOWN.sha256, "blur:1"): -1.0,
        }


def test_what_an_older_reader_said_of_a_file_is_not_given_and_its_score_is(path, monkeypatch):
    said = replace(KNOWN, provenance='["generated", "png: made with x"]')
    remember(path, known=said)
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "READER", cache_module.READER + 1)
        with ScoreCache(path, SCORER) as cache:
            assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": KNOWN}
        remember(path)  # by a scan that looks for no provenance
        with ScoreCache(path, SCORER) as cache:
            assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": KNOWN}
        newer = replace(KNOWN, provenance='["composite", "png: something better"]')
        remember(path, known=newer)
        remember(path)
        with ScoreCache(path, SCORER) as cache:
            assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": newer}


def test_the_first_cache_is_brought_up_to_date_with_all_that_it_knows(path):
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.executescript(MIGRATIONS[0])
    db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO scorers VALUES (1, 'tiny', ?, '{}', '', 'cpu')", [SCORER.detector])
    for i, said in enumerate((None, "null")):
        content = bytes.fromhex(KNOWN.sha256)[:-1] + bytes([i])
        row = (content, 1, 1.25, 640, 480, "JPEG", said)
        db.execute("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        file = (os.fsencode(Path(f"{i}.jpg").absolute()), STAMP.size, STAMP.mtime_ns, content)
        db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", file)
    db.commit()
    db.close()
    with ScoreCache(path, SCORER) as cache:
        found = cache.unchanged({"0.jpg": STAMP, "1.jpg": STAMP})
    assert [(k.logit, k.provenance) for k in found.values()] == [(1.25, None), (1.25, "null")]


def test_a_path_is_the_same_file_from_everywhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remember(path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({"../a.jpg": STAMP}) == {"../a.jpg": KNOWN}
        assert cache.unchanged({"a.jpg": STAMP}) == {}


@pytest.mark.parametrize("name", ["\udcff.jpg", "a\nb'\".jpg", "=x", "%_"])
def test_any_file_name_is_kept(path, name):
    with ScoreCache(path, SCORER) as cache:
        cache.remember([KNOWN], {name: (STAMP, KNOWN.sha256)})
        assert cache.unchanged({name: STAMP}) == {name: KNOWN}


def test_contents_are_counted_and_cleared(path):
    assert contents_of(path).files == 0
    assert not path.exists()
    remember(path)
    contents = contents_of(path)
    assert (contents.files, contents.scores) == (1, {"tiny@abababababab": 1})
    assert clear(path) >= contents.bytes > 0
    assert list(path.parent.iterdir()) == []
    assert clear(path) == 0


def test_clearing_helps_whatever_the_file_is(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CacheError, match=r"file is not a database.*cache clear"):
        ScoreCache(path, SCORER)
    clear(path)
    remember(path)


def test_the_database_of_another_program_is_left_alone(path):
    path.parent.mkdir()
    for version in (0, len(MIGRATIONS)):
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE IF NOT EXISTS theirs (x)")
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = path.read_bytes()
        with pytest.raises(CacheError, match="not a cache of scores"):
            ScoreCache(path, SCORER)
        assert path.read_bytes() == before


def test_a_newer_cache_is_refused_and_kept(path):
    remember(path)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(CacheError, match="made by a newer fakescan; update fakescan, or"):
        ScoreCache(path, SCORER)
    with pytest.raises(CacheError, match="newer fakescan"):
        contents_of(path)


def test_a_cache_of_an_older_fakescan_is_brought_up_to_date_and_keeps_its_scores(path, monkeypatch):
    remember(path)
    later = (*MIGRATIONS, "CREATE TABLE more (x); INSERT INTO more VALUES (7)")
    monkeypatch.setattr(database, "MIGRATIONS", later)
    for _ in range(2):
        with ScoreCache(path, SCORER) as cache:
            assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": KNOWN}
    db = sqlite3.connect(path)
    assert db.execute("SELECT x FROM more").fetchall() == [(7,)]
    db.close()


def test_a_migration_that_fails_leaves_the_cache_as_it_was(path, monkeypatch):
    remember(path)
    later = (*MIGRATIONS, "CREATE TABLE more (x); nonsense")
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", later)
        with pytest.raises(CacheError, match="syntax error"):
            ScoreCache(path, SCORER)
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({"a.jpg": STAMP}) == {"a.jpg": KNOWN}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot be made"):
        ScoreCache(tmp_path / "file" / "scores.sqlite", SCORER)


def test_tables_that_are_missing_are_an_error_of_the_cache(path):
    remember(path)
    db = sqlite3.connect(path)
    db.execute("DROP TABLE files")
    db.close()
    with ScoreCache(path, SCORER) as cache, pytest.raises(CacheError, match="no such table"):
        cache.unchanged({"a.jpg": STAMP})


def test_a_transaction_that_fails_leaves_nothing_behind(path):
    with ScoreCache(path, SCORER) as cache:
        with pytest.raises(CacheError, match="NOT NULL"):
            cache.remember([KNOWN, replace(KNOWN, sha256="ee" * 32, width=None)], {})
        assert cache.logits([KNOWN.sha256]) == {}
        cache.remember([KNOWN], {})
        assert cache.logits([KNOWN.sha256]) == {(KNOWN.sha256, ""): 1.25}


def test_processes_that_start_at_once_share_one_cache(path):
    code = (
        "import sys, pathlib; from fakescan.scan.cache import *\n"
        "s = Scorer(name='t', detector='d', preprocessing='p', device='cpu')\n"
        "for i in range(40):\n"
        "    with ScoreCache(pathlib.Path(sys.argv[1]), s) as cache:\n"
        "        sha = f'{i:032x}{int(sys.argv[2]):032x}'\n"
        "        cache.remember([Known(sha, 1.0, 2, 3, None)], {sha: (Stamp(1, 2), sha)})\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, path, f"{i}"]) for i in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    assert contents_of(path).scores == {"t@d": 160}


CONTENT = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIZES = st.integers(0, 2**63 - 1)
KNOWNS = st.builds(
    Known,
    CONTENT,
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 2**31),
    st.integers(1, 2**31),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
)
FILES = st.binary(min_size=1).filter(lambda name: b"\0" not in name).map(lambda n: b"/x/" + n)
STEPS = st.lists(st.tuples(FILES.map(os.fsdecode), st.builds(Stamp, SIZES, SIZES), KNOWNS))


@pytest.mark.skipif(sys.platform == "win32", reason="names of any bytes are POSIX's")
@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_a_cache_is_a_dictionary_that_outlives_the_scan(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("cache") / "scores.sqlite"
    files, scores = {}, {}
    for name, stamp, known in steps:
        with ScoreCache(path, SCORER) as cache:
            cache.remember([known], {name: (stamp, known.sha256)})
        files[os.path.abspath(name)] = stamp, known.sha256  # noqa: PTH100
        scores[known.sha256] = known
    with ScoreCache(path, SCORER) as cache:
        assert cache.unchanged({name: stamp for name, (stamp, _) in files.items()}) == {
            name: scores[content] for name, (_, content) in files.items()
        }
        kept = {(content, ""): known.logit for content, known in scores.items()}
        assert cache.logits(list(scores)) == kept
