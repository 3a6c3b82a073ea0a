import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest

from fakescan.errors import ConfigError
from fakescan.scan.gather import Gathering, gather

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    (folder / "sub" / "a.png").write_bytes(b"sub a")
    return folder


def run(paths, targets, folder, **options):
    told = []
    gathering = Gathering(folder=folder, **options)
    result = gather(
        [str(p) for p in paths],
        [str(t) for t in targets],
        gathering,
        lambda source, destination: told.append(destination),
    )
    return result, told


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_of_a_folder_keep_their_path_below_it(photos, tmp_path):
    paths = [photos / "a.png", photos / "sub" / "a.png"]
    result, told = run(paths, [photos], tmp_path / "out")
    assert (result.done, result.kept, result.failed) == (2, 0, [])
    assert content(tmp_path / "out") == {"a.png": b"a", "sub/a.png": b"sub a"}
    assert told == [tmp_path / "out" / "a.png", tmp_path / "out" / "sub" / "a.png"]


def test_files_that_were_named_keep_their_name_and_none_is_overwritten(photos, tmp_path):
    paths = [photos / "a.png", photos / "sub" / "a.png"]
    run(paths, paths, tmp_path / "out")
    assert content(tmp_path / "out") == {"a.png": b"a", "a-1.png": b"sub a"}


def test_a_copy_is_not_made_twice(photos, tmp_path):
    run([photos / "a.png"], [photos], tmp_path / "out")
    result, told = run([photos / "a.png"], [photos], tmp_path / "out")
    assert (result.done, result.kept, told) == (0, 1, [])
    (photos / "a.png").write_bytes(b"other")
    run([photos / "a.png"], [photos], tmp_path / "out")
    assert content(tmp_path / "out") == {"a.png": b"a", "a-1.png": b"other"}


def test_a_move_leaves_nothing_behind_and_overwrites_nothing(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"a")
    result, _ = run([photos / "a.png"], [photos], out, is_move=True)
    assert result.done == 1
    assert content(out) == {"a.png": b"a", "a-1.png": b"a"}
    assert not (photos / "a.png").exists()


def test_a_dry_run_says_what_would_happen_and_writes_nothing(photos, tmp_path):
    paths = [photos / "a.png", photos / "sub" / "a.png"]
    result, told = run(paths, paths, tmp_path / "out", is_move=True, is_dry_run=True)
    assert result.done == 2
    assert [path.name for path in told] == ["a.png", "a-1.png"]
    assert not (tmp_path / "out").exists()
    assert len(content(photos)) == 2


def test_a_move_across_devices_copies_and_then_removes(photos, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    os.utime(photos / "a.png", (1000, 1000))
    result, _ = run([photos / "a.png"], [photos], tmp_path / "out", is_move=True)
    assert result.done == 1
    assert (tmp_path / "out" / "a.png").stat().st_mtime == 1000
    assert not (photos / "a.png").exists()


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,
    reason="needs two devices",
)
def test_a_move_to_another_device_really_works(photos):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        result, _ = run([photos / "a.png"], [photos], Path(folder) / "out", is_move=True)
        assert (result.done, result.failed) == (1, [])
        assert content(Path(folder)) == {"out/a.png": b"a"}
    assert not (photos / "a.png").exists()


def test_what_fails_is_told_and_does_not_stop_the_rest(photos, tmp_path):
    paths = [photos / "gone.png", "x.zip!/a.png", photos / "a.png"]
    result, _ = run(paths, [photos], tmp_path / "out")
    assert result.done == 1
    assert [reason for _, reason in result.failed] == [
        "No such file or directory",
        "it is inside an archive",
    ]


@posix
def test_a_link_is_copied_as_what_it_points_to_and_never_moved(photos, tmp_path):
    (photos / "link.png").symlink_to("a.png")
    assert run([photos / "link.png"], [photos], tmp_path / "out")[0].done == 1
    assert content(tmp_path / "out") == {"link.png": b"a"}
    result, _ = run([photos / "link.png"], [photos], tmp_path / "out", is_move=True)
    assert result.failed == [(str(photos / "link.png"), "it is a link")]


def test_a_copy_that_fails_leaves_no_half_file_and_the_source(photos, tmp_path, monkeypatch):
    def fail(reader, writer):
        writer.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", fail)
    result, _ = run([photos / "a.png"], [photos], tmp_path / "out")
    assert result.failed == [(str(photos / "a.png"), "No space left on device")]
    assert content(tmp_path / "out") == {}
    assert (photos / "a.png").exists()


def test_a_destination_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ConfigError, match="out: not a folder"):
        Gathering(folder=tmp_path / "out")
