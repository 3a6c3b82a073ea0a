import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.scan import walk as walking
from fakescan.scan.ignore import IGNORE_FILE
from fakescan.scan.selection import Selection
from fakescan.scan.walk import walk

PNG = b"\x89PNG\r\n\x1a\n"
FILES = ("x.png", "y.gif", "a/x.png", "a/b/x.png", "a/b/y.gif", "b/x.png", "b/a/y.gif")
git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def tree(root, rules):
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    for folder, lines in rules.items():
        (root / folder / IGNORE_FILE).write_text("\n".join(lines) + "\n")


def run(*targets, root, **selection):
    skipped = Counter()
    found = walk([str(t) for t in targets], skipped, Selection(**selection))
    return sorted(os.path.relpath(path, root).replace(os.sep, "/") for path in found), skipped


def test_an_ignore_file_holds_for_its_folder_and_the_nearest_one_decides(tmp_path):
    tree(tmp_path, {"": ["*.gif", "/b/"], "a/b": ["!y.gif", "x.png"]})
    found, skipped = run(tmp_path, root=tmp_path)
    assert found == ["a/b/y.gif", "a/x.png", "x.png"]
    assert skipped == {walking.IGNORED: 3}


def test_ignore_files_can_be_switched_off(tmp_path):
    tree(tmp_path, {"": ["*"]})
    assert run(tmp_path, root=tmp_path, ignore_files=False)[0] == sorted(FILES)


def test_a_folder_gives_the_same_rows_alone_as_within_the_whole(tmp_path, monkeypatch):
    tree(tmp_path, {"": ["a/b/*.gif"]})
    monkeypatch.chdir(tmp_path)
    whole, _ = run(".", root=tmp_path)
    for target in ("a", "a/b", "./a/../a/b/"):
        alone, _ = run(target, root=tmp_path)
        prefix = os.path.relpath(target, ".").replace(os.sep, "/") + "/"
        assert alone == [path for path in whole if path.startswith(prefix)]
    assert "a/b/y.gif" not in whole


def test_a_folder_that_is_ignored_is_scanned_when_it_is_named(tmp_path, monkeypatch):
    tree(tmp_path, {"": ["a/"]})
    monkeypatch.chdir(tmp_path)
    assert run("a", root=tmp_path)[0] == ["a/b/x.png", "a/b/y.gif", "a/x.png"]
    assert run("a/b", root=tmp_path)[0] == ["a/b/x.png", "a/b/y.gif"]


def test_a_line_that_is_no_pattern_says_nothing(tmp_path):
    tree(tmp_path, {"": ["!", "*.gif", "///"]})
    assert not [path for path in run(tmp_path, root=tmp_path)[0] if path.endswith(".gif")]


def test_two_asterisks_at_the_end_mean_what_is_inside_and_not_the_folder(tmp_path):
    tree(tmp_path, {"": ["a/**", "!x.png"]})
    found = run(tmp_path, root=tmp_path)[0]
    assert "a/x.png" in found
    assert "a/b/x.png" not in found


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_an_ignore_file_that_cannot_be_read_is_counted_and_never_waited_for(tmp_path):
    tree(tmp_path, {})
    os.mkfifo(tmp_path / "a" / IGNORE_FILE)
    (tmp_path / "b" / IGNORE_FILE).write_bytes(b"x" * 2_000_000)
    found, skipped = run(tmp_path, root=tmp_path)
    assert found == sorted(FILES)
    assert skipped[walking.UNREADABLE_RULES] == 2


@pytest.mark.parametrize("line", ["*a" * 9 + "b", "**/a/" * 9 + "b", "x/" + "*?" * 9])
def test_a_line_that_would_take_for_ever_makes_its_file_unreadable(tmp_path, line):
    tree(tmp_path, {"": ["*.gif", line]})
    (tmp_path / ("a" * 200 + ".png")).write_bytes(PNG)
    found, skipped = run(tmp_path, root=tmp_path)
    assert len(found) == len(FILES) + 1
    assert skipped[walking.UNREADABLE_RULES] == 1


LINES = st.lists(
    st.sampled_from(
        ["a", "b/", "*.gif", "!*.gif", "/x.png", "a/**", "!a/b/", "*", "!*/", "b/*", "!x.png", "!a"]
    ),
    max_size=4,
)


@git
@settings(max_examples=40, deadline=None)
@given(rules=st.dictionaries(st.sampled_from(["", "a", "a/b", "b"]), LINES, min_size=1, max_size=3))
def test_ignore_files_mean_what_they_mean_to_git(tmp_path_factory, rules):
    root = tmp_path_factory.mktemp("tree")
    tree(root, rules)
    subprocess.run(["git", "init", "-q", root], check=True)
    listed = subprocess.check_output(
        ["git", "ls-files", "-o", "-z", f"--exclude-per-directory={IGNORE_FILE}"], cwd=root
    )
    expected = [name for name in listed.decode().split("\0") if name.endswith((".png", ".gif"))]
    assert run(root, root=root)[0] == sorted(expected)
