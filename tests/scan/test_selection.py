import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.errors import ConfigError
from fakescan.scan import selection as selecting
from fakescan.scan import walk as walking
from fakescan.scan.selection import Selection
from fakescan.scan.walk import walk

PNG = b"\x89PNG\r\n\x1a\n"
posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)


def run(root, *targets, **selection):
    skipped = Counter()
    found = walk([str(t) for t in targets or (root,)], skipped, Selection(**selection))
    return [os.path.relpath(path, root) for path in found], skipped


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["*.gif"], ["a/b/x.png", "a/x.png", "x.png"]),
        (["a/"], ["x.gif", "x.png"]),
        (["b"], ["a/x.png", "x.gif", "x.png"]),
        (["/x.png"], ["a/b/x.png", "a/x.png", "x.gif"]),
        (["a/*.png"], ["a/b/x.png", "x.gif", "x.png"]),
        (["a/**/x.png"], ["x.gif", "x.png"]),
        (["*", "!*.gif"], ["x.gif"]),
        (["*", "!*/", "!*.png"], ["a/b/x.png", "a/x.png", "x.png"]),
    ],
)
def test_exclude_reads_patterns_as_git_does(tmp_path, exclude, left):
    tree(tmp_path, "x.png", "x.gif", "a/x.png", "a/b/x.png")
    assert run(tmp_path, exclude=tuple(exclude))[0] == left


def test_include_is_for_files_and_exclude_wins(tmp_path):
    tree(tmp_path, "x.png", "a/x.png", "a/x.gif", "b/x.png")
    found, skipped = run(tmp_path, include=("*.png",), exclude=("b/",))
    assert found == ["a/x.png", "x.png"]
    assert skipped == {selecting.NOT_INCLUDED: 1, selecting.EXCLUDED: 1}


def test_what_is_named_is_scanned_whatever_the_patterns(tmp_path):
    tree(tmp_path, ".hidden/x.png", "x.gif")
    selection = {"exclude": ("*.gif", ".hidden"), "max_depth": 1, "max_filesize": 1e-9}
    assert run(tmp_path, tmp_path / "x.gif", **selection)[0] == ["x.gif"]
    assert run(tmp_path, tmp_path / ".hidden", exclude=(".hidden",))[0] == [".hidden/x.png"]


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_a_pattern_that_is_none_is_refused_by_option(name):
    with pytest.raises(ConfigError, match=f"{name}: not a pattern as in .gitignore"):
        Selection(**{name: ("!",)})


@pytest.mark.parametrize("name", ["max_depth", "max_filesize"])
def test_a_limit_is_positive(name):
    with pytest.raises(ConfigError, match=f"{name}: must be positive, got 0"):
        Selection(**{name: 0})


def test_hidden_files_and_folders_are_left_out_unless_asked_for(tmp_path):
    tree(tmp_path, ".x.png", ".a/x.png", "a/x.png")
    assert run(tmp_path) == (["a/x.png"], {walking.HIDDEN: 2})
    assert run(tmp_path, hidden=True)[0] == [".a/x.png", ".x.png", "a/x.png"]


@pytest.mark.parametrize(
    ("depth", "left"),
    [(1, ["x.png"]), (2, ["a/x.png", "x.png"]), (3, ["a/b/x.png", "a/x.png", "x.png"])],
)
def test_depth_counts_from_the_folder_that_is_named(tmp_path, depth, left):
    tree(tmp_path, "x.png", "a/x.png", "a/b/x.png")
    found, skipped = run(tmp_path, max_depth=depth)
    assert found == left
    assert skipped[walking.TOO_DEEP] == (depth < 3)


def test_large_files_are_left_out_and_counted(tmp_path):
    tree(tmp_path, "small.png")
    (tmp_path / "large.png").write_bytes(PNG + bytes(2000))
    assert run(tmp_path, max_filesize=0.001) == (["small.png"], {walking.TOO_LARGE: 1})


def test_the_folder_where_images_are_put_is_never_entered(tmp_path):
    tree(tmp_path, "x.png", "a/out/x.png")
    found, skipped = run(tmp_path, leave_out=str(tmp_path / "a" / "." / "out"))
    assert (found, skipped) == (["x.png"], {walking.OWN_FOLDER: 1})


@posix
def test_links_stay_inside_the_tree_unless_asked_for(tmp_path):
    tree(tmp_path, "in/x.png", "out/y.png")
    (tmp_path / "in" / "folder").symlink_to("../out")
    (tmp_path / "in" / "file.png").symlink_to("../out/y.png")
    (tmp_path / "in" / "same.png").symlink_to("x.png")
    found, skipped = run(tmp_path, tmp_path / "in")
    assert found == ["in/same.png", "in/x.png"]
    assert skipped == {walking.LINK_TO_FOLDER: 1, walking.LINK_OUT: 1}
    found, skipped = run(tmp_path, tmp_path / "in", follow_symlinks=True)
    assert found == ["in/file.png", "in/folder/y.png", "in/same.png", "in/x.png"]
    assert not skipped


@posix
@pytest.mark.parametrize("follow", [False, True])
def test_loops_of_links_end(tmp_path, follow):
    tree(tmp_path, "a/x.png", "b/y.png")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "over").symlink_to("../b")
    (tmp_path / "b" / "back").symlink_to("../a")
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    found, skipped = run(tmp_path, follow_symlinks=follow)
    assert sorted(os.path.realpath(tmp_path / f) for f in found) == [
        str(tmp_path / "a" / "x.png"),
        str(tmp_path / "b" / "y.png"),
    ]
    assert skipped[walking.DANGLING] == 1


NAMES = st.sampled_from(["a", "b", ".c", "x.png", "y.gif", "z.txt", "-n.png", "new\nline.png"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(["a", "b/", "*.png", "!x.png", "/a/*", "**/y.gif", "a/**", "# x", "", "?.gif"]),
    max_size=3,
).map(tuple)


@settings(max_examples=60, deadline=None)
@given(paths=st.lists(PATHS, max_size=8), include=PATTERNS, exclude=PATTERNS, hidden=st.booleans())
def test_a_selection_only_ever_takes_away(tmp_path_factory, paths, include, exclude, hidden):
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        try:
            tree(root, path)
        except OSError:  # a file where a folder would be
            continue
    everything, _ = run(root, hidden=True)
    found, skipped = run(root, include=include, exclude=exclude, hidden=hidden)
    assert len(found) == len(set(found))
    assert [path for path in everything if path in set(found)] == found
    assert len(found) <= len(everything) <= len(found) + sum(skipped.values()) * 8
    again, _ = run(root, root, root / ".", include=include, exclude=exclude, hidden=hidden)
    assert again == found
    assert Path.cwd() != root
