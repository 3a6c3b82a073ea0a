import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fakescan.cli import main
from fakescan.records import Summary
from fakescan.scan.pipeline import ScanSettings
from fakescan.scan.pipeline import scan as scan_files
from fakescan.session import OnnxSession

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def scan(tiny, capsys):
    """Run `fakescan scan`: exit code, names of the rows, standard error."""

    def run(*arguments):
        command = ["scan", "--no-config", "-j", "1", "--model", str(tiny), *map(str, arguments)]
        code = main(command)
        out, err = capsys.readouterr()
        rows = csv.DictReader(io.StringIO(out, newline=""))
        return code, [Path(row["path"]).name for row in rows], err

    return run


def test_paths_come_from_a_list_too(scan, photos, tmp_path):
    (tmp_path / "list").write_text(f"{photos}/grey.png\n{photos}/gone.png\n{photos}/sub\n")
    code, names, err = scan(photos / "dark.jpg", "--from-file", tmp_path / "list")
    assert code == 0
    assert names == ["dark.jpg", "grey.png", "gone.png", "bright.webp"]
    assert "gone.png: the file is gone" in err


def test_a_list_with_null_characters_comes_from_standard_input(tiny, photos):
    odd = photos / "new\nline.png"
    (photos / "grey.png").rename(odd)
    command = [sys.executable, "-m", "fakescan", "scan", "--model", tiny, "-q", "--from-file", "-"]
    done = subprocess.run(
        [*command, "-0", "-f", "jsonl"],
        input=os.fsencode(odd) + b"\0",
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["path"] == str(odd)


def test_an_empty_list_is_an_empty_report(scan, tmp_path):
    (tmp_path / "list").write_text("")
    code, names, err = scan("--from-file", tmp_path / "list")
    assert (code, names) == (0, [])
    assert "warning: no images found" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "need a PATH or --from-file"),
        ([".", "-0"], "--null needs --from-file"),
        (["--from-file", "none"], "none: cannot be read"),
        ([".", "--dry-run"], "--dry-run: needs --copy-flagged or --move-flagged"),
        ([".", "--copy-flagged", "a", "--move-flagged", "b"], "only one of them"),
        ([".", "--copy-flagged", "/dev/null"], "/dev/null: not a folder"),
        ([".", "--baseline", "none.json"], "none.json: no such file"),
        ([".", "--exclude", "!"], "exclude: not a pattern as in .gitignore"),
        ([".", "--max-filesize", "0"], "max_filesize: must be positive"),
        ([".", "--archive-ratio", "0", "--archives"], "archive_ratio: must be positive"),
    ],
)
def test_what_cannot_work_is_code_2_before_anything_is_scanned(scan, arguments, reason):
    code, names, err = scan(*arguments)
    assert (code, names) == (2, [])
    assert reason in " ".join(err.replace("│", " ").split())


def test_skipped_files_are_counted_by_reason(scan, photos):
    (photos / ".fakescanignore").write_text("*.webp\n")
    (photos / "large.png").write_bytes(bytes(20_000))
    (photos / ".cache").mkdir()
    code, names, err = scan(photos, "--exclude", "dark*", "--max-filesize", "0.01")
    assert (code, names) == (0, ["broken.png", "grey.png"])
    assert (
        "skipped: 1 excluded by a pattern, 1 file above --max-filesize, 1 hidden, "
        "1 ignored by .fakescanignore, 1 not an image\n"
    ) in err


def test_a_large_file_that_is_named_is_a_row(scan, photos):
    (photos / "large.png").write_bytes(bytes(20_000))
    code, names, err = scan(photos / "large.png", "--max-filesize", "0.01")
    assert (code, names) == (3, ["large.png"])
    assert "0.02 MB; the limit is 0.01 (--max-filesize)" in err


def test_what_a_baseline_knows_is_not_reported_and_does_not_fail(scan, photos, tmp_path):
    report = tmp_path / "known.json"
    assert scan(photos, "--hash", "-o", report)[0] == 0
    (photos / "grey.png").rename(photos / "renamed.png")
    code, names, err = scan(photos, "--baseline", report, "--fail-on", "fake")
    assert (code, names) == (0, [])
    assert "skipped: 4 known from the baseline" in err
    code, names, _ = scan(photos, "--baseline", report, "--threshold", "0.5", "--fail-on", "fake")
    assert (code, names) == (1, ["renamed.png"])


def test_flagged_images_are_copied_and_told(scan, photos, tmp_path):
    code, _, err = scan(photos, "--copy-flagged", tmp_path / "out")
    assert code == 0
    assert f"copied 2 flagged to {tmp_path}/out\n" in err
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("out/**/*.*")) == [
        "grey.png",
        "sub/bright.webp",
    ]
    assert "copied 0 flagged" in scan(photos, "--copy-flagged", tmp_path / "out")[2]


def test_flagged_may_mean_other_verdicts(scan, photos):
    out = photos / "set aside"
    flags = ["--flagged", "uncertain", "--flagged", "error", "--move-flagged", out]
    assert "moved 2 flagged" in scan(photos, *flags)[2]
    assert sorted(p.name for p in out.iterdir()) == ["broken.png", "grey.png"]
    _, names, err = scan(photos, *flags)
    assert names == ["dark.jpg", "bright.webp"]
    assert "skipped: 1 folder of flagged images" in err


def test_a_dry_run_only_tells(scan, photos, tmp_path):
    flags = ["--move-flagged", tmp_path / "out", "--flagged", "fake", "--dry-run", "-q"]
    code, _, err = scan(photos, *flags)
    assert code == 0
    assert err == f"would move {photos}/sub/bright.webp to {tmp_path}/out/sub/bright.webp\n"
    assert not (tmp_path / "out").exists()


def test_what_could_not_be_copied_is_told_and_code_2(scan, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_bytes(b"in the way")
    code, names, err = scan(photos, "--copy-flagged", tmp_path / "out", "-q")
    assert code == 2
    assert len(names) == 4
    assert f"error: not copied: {photos}/sub/bright.webp: File exists" in err


@pytest.mark.skipif(
    sys.platform == "win32" or (os.getuid() == 0 and shutil.which("setpriv") is None),
    reason="needs a user whom permissions bind",
)
def test_what_may_not_be_read_or_written_is_told(tiny, photos, tmp_path):
    (photos / "closed").mkdir()
    (photos / "data").write_bytes(b"x")
    (tmp_path / "read-only").mkdir()
    closed = [photos / "closed", photos / "data", photos / "dark.jpg", tmp_path / "read-only"]
    modes = [path.stat().st_mode for path in closed]
    for path in closed:
        path.chmod(0o555 if path.name == "read-only" else 0)
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [
        *(bound if os.getuid() == 0 else []),
        *(sys.executable, "-m", "fakescan", "scan", "--no-config", "-j", "1", "--model", tiny),
        photos,
    ]
    report = tmp_path / "read-only" / "r.json"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        failed = subprocess.run([*command, "-o", report], capture_output=True, text=True)
    finally:
        for path, mode in zip(closed, modes, strict=True):
            path.chmod(mode)
    assert done.returncode == 0, done.stderr
    assert f"{photos}/dark.jpg: no permission to read it" in done.stderr
    assert "1 file that cannot be read, 1 folder that cannot be read" in done.stderr
    assert failed.returncode == 2
    assert failed.stderr == f"fakescan: {report}: cannot be written (Permission denied)\n"


@posix
def test_names_that_could_be_taken_for_something_else_are_rows(scan, tmp_path, monkeypatch):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = [
        b"-o.png",
        b"--help.png",
        b"*.png",
        b"!x.png",
        b"#x.png",
        b"'q\".png",
        b"a\\b.png",
        b" .png",
    ]
    for name in odd:
        (folder / os.fsdecode(name)).write_bytes(b"")
    monkeypatch.chdir(folder)
    code, names, _ = scan(".")
    assert (code, {os.fsencode(name.removeprefix("'")) for name in names}) == (
        3,
        {name.removeprefix(b"'") for name in odd},
    )
    assert scan("--", "-o.png")[1] == ["'-o.png"]


@posix
def test_special_files_that_are_named_are_rows_and_never_waited_for(scan, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.zip")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        named = [tmp_path / "pipe.png", tmp_path / "pipe.zip", tmp_path / "s", "/dev/zero"]
        code, names, err = scan(*named, "--archives", "--hash")
    assert (code, names) == (3, ["pipe.png", "pipe.zip", "s", "zero"])
    assert err.count(": not a regular file") == 4


def test_a_file_that_vanishes_or_changes_while_it_waits_is_a_row(tiny, tmp_path):
    for i in range(40):
        (tmp_path / f"{i:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    session, summary = OnnxSession(tiny), Summary()
    findings = scan_files([str(tmp_path)], session, ScanSettings(workers=1), summary)
    first = next(findings)
    for i in range(20, 40):
        path = tmp_path / f"{i}.png"
        path.unlink()
        if i >= 30:
            path.mkdir()
    rest = list(findings)
    assert first.error == "damaged: only its start is PNG"
    assert [f.error for f in rest[19:29]] == ["the file is gone"] * 10
    assert [f.error for f in rest[29:]] == ["not a regular file"] * 10
    assert summary.is_complete
