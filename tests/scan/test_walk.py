import os
import socket
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.errors import ConfigError
from fakescan.scan import walk as walking
from fakescan.scan.formats import FORMATS, sniff
from fakescan.scan.selection import Selection
from fakescan.scan.walk import check, walk

PNG = b"\x89PNG\r\n\x1a\n"
posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")


def names(targets, root, skipped=None):
    found = walk([str(t) for t in targets], Counter() if skipped is None else skipped)
    return [os.path.relpath(path, root) for path in found]


def touch(path, data=PNG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_folders_are_walked_in_order_of_names(tmp_path):
    for name in ("b.png", "a/z.png", "a/b/c.png", "c.png", "a.png"):
        touch(tmp_path / name)
    assert names([tmp_path], tmp_path) == ["a/b/c.png", "a/z.png", "a.png", "b.png", "c.png"]


def test_a_walk_takes_what_suffix_or_first_bytes_call_an_image(tmp_path):
    touch(tmp_path / "empty.JPG", b"")
    touch(tmp_path / "no-suffix")
    touch(tmp_path / "notes.txt", b"notes")
    touch(tmp_path / "psd.psd", b"8BPS")
    skipped = Counter()
    assert names([tmp_path], tmp_path, skipped) == ["empty.JPG", "no-suffix"]
    assert skipped == {walking.NOT_IMAGE: 2}


def test_a_file_that_is_named_is_always_a_row(tmp_path):
    notes = touch(tmp_path / "notes.txt", b"notes")
    assert names([notes], tmp_path) == ["notes.txt"]
    skipped = Counter()
    assert names([tmp_path, notes], tmp_path, skipped) == ["notes.txt"]
    assert not skipped


def test_several_mentions_of_a_path_are_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "a" / "b" / "c.png")
    targets = ["a/b/c.png", "./a/b/../b/c.png", "a", "a/b", ".", "a/"]
    assert list(walk(targets, Counter())) == ["a/b/c.png"]
    assert list(walk(["a/b", "a"], Counter())) == ["a/b/c.png"]


@posix
def test_links_to_folders_are_not_followed_and_loops_end(tmp_path):
    touch(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "dead.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "a" / "same.png").symlink_to(tmp_path / "a" / "x.png")
    skipped = Counter()
    assert names([tmp_path], tmp_path, skipped) == ["a/same.png", "a/x.png"]
    assert skipped == {walking.LINK_TO_FOLDER: 1, walking.DANGLING: 1}


@posix
def test_a_link_to_a_folder_that_is_named_is_followed(tmp_path):
    touch(tmp_path / "a" / "x.png")
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    assert names([tmp_path / "link"], tmp_path) == ["link/x.png"]


@posix
def test_fifos_and_sockets_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        skipped = Counter()
        assert names([tmp_path], tmp_path, skipped) == []
    assert skipped == {walking.NOT_REGULAR: 2}


def test_a_folder_that_vanishes_during_the_walk_is_counted(tmp_path):
    for name in ("a/1.png", "b/2.png", "c.png"):
        touch(tmp_path / name)
    skipped = Counter()
    found = walk([str(tmp_path)], skipped)
    assert next(found).endswith("1.png")
    (tmp_path / "b" / "2.png").unlink()
    (tmp_path / "b").rmdir()
    assert [Path(path).name for path in found] == ["c.png"]
    assert skipped == {walking.UNREADABLE_FOLDER: 1}


@posix
def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    name = b"caf\xe9\n.png"
    (tmp_path / os.fsdecode(name)).write_bytes(PNG)
    (found,) = walk([str(tmp_path)], Counter())
    assert os.fsencode(found).endswith(name)


def test_a_target_that_does_not_exist_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.png: no such file"):
        check([str(tmp_path), str(tmp_path / "gone.png")])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (PNG, "PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", None),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "BMP"),
        (b"BMW is a car", None),
        (b"GIF89a", "GIF"),
        (b"", None),
    ],
)
def test_first_bytes_name_the_format(head, name):
    assert sniff(head) == name


@given(st.binary(max_size=64))
def test_no_first_bytes_break_the_rules(head):
    assert sniff(head) in {None, *(f.name for f in FORMATS)}


@given(st.lists(st.sampled_from("ab"), max_size=3), st.permutations(["a", "b", "a/a", "x.png"]))
def test_every_image_comes_once_whatever_the_targets(tmp_path_factory, extra, order):
    root = tmp_path_factory.mktemp("walk")
    for name in ("a/1.png", "a/a/2.png", "b/3.png", "x.png"):
        touch(root / name)
    found = names([root / t for t in (*order, *extra)], root)
    assert sorted(found) == ["a/1.png", "a/a/2.png", "b/3.png", "x.png"]


PLACES = st.sampled_from(["", "a/", "a/b/", "c/"])
NAMES = st.sampled_from(["x.png", "y.jpg", "z.txt", "l1", "l2.png"])
TARGETS = st.sampled_from(["a", "..", ".", "a/b", "c/x.png", "x.png", "../x.png", "gone", "l1"])


@posix
@settings(max_examples=60, deadline=None)
@given(
    files=st.sets(st.tuples(PLACES, NAMES), max_size=8),
    links=st.dictionaries(st.tuples(PLACES, NAMES), TARGETS, max_size=5),
    follow=st.booleans(),
)
def test_a_walk_ends_and_loses_no_file_however_links_run(tmp_path_factory, files, links, follow):
    root = tmp_path_factory.mktemp("tree")
    for place in ("a/b", "c"):
        (root / place).mkdir(parents=True)
    for place, name in files:
        touch(root / f"{place}{name}")
    for (place, name), target in links.items():
        if (place, name) not in files:
            (root / f"{place}{name}").symlink_to(target)
    skipped = Counter()
    found = list(walk([str(root)], skipped, Selection(follow_symlinks=follow)))
    assert len(found) == len(set(found))
    images = {str(root / f"{place}{name}") for place, name in files if not name.endswith("txt")}
    assert {os.path.realpath(path) for path in found} >= {os.path.realpath(p) for p in images}
    entries = [name for _, _, names in os.walk(root) for name in names]
    to_folders = [p for p in root.rglob("*") if p.is_symlink() and p.is_dir()]
    if not follow:
        assert images <= set(found)
        assert len(found) + skipped.total() == len(entries) + len(to_folders)


def test_a_file_that_waits_for_its_turn_takes_little_memory(tmp_path):
    files = 3000
    for i in range(files):
        (tmp_path / f"{i:05}.png").touch()
    tracemalloc.start()
    try:
        for _ in walk([str(tmp_path)], Counter()):
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / files < 500
