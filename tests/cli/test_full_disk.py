"""A disk that fills up while a scan writes to it: a real one, of 64 kB."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from fakescan.cli.output import FileOutput, write_report
from fakescan.errors import OutputError
from fakescan.records import Finding, Verdict
from fakescan.report.spool import Spool
from fakescan.scan.cache import NAME
from reports import report

IMAGES = 200
FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path):
    """A file system with some 16 kB left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        if os.environ.get("CI") and sys.platform == "linux" and os.getuid() == 0:
            raise
        pytest.skip(f"needs to mount a file system: {e}")
    (folder / "other").write_bytes(bytes(48_000))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def images(tmp_path):
    """A folder whose reports are much larger than what is left."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (20, 20), "white").save(folder / f"{0:0100}.png")
    for i in range(1, IMAGES):
        (folder / f"{i:0100}.png").hardlink_to(folder / f"{0:0100}.png")
    return folder


@pytest.fixture
def scan(tiny, images, tmp_path):
    """Run `fakescan scan` over the images: exit code, standard error."""

    def run(*arguments, **variables):
        command = [sys.executable, "-m", "fakescan", "scan", "--no-config", "--model", tiny]
        done = subprocess.run(
            [*command, images, *arguments],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("suffix", ["json", "html", "sarif", "xml"])
def test_an_earlier_report_stays_and_the_other_outputs_are_written(disk, scan, tmp_path, suffix):
    report, other = disk / f"r.{suffix}", tmp_path / "other.json"
    report.write_text("earlier")
    code, err = scan("-o", report, "-o", other, "-q")
    assert (code, err) == (2, f"fakescan: {report}: cannot be written ({FULL})\n")
    assert report.read_text() == "earlier"
    assert sorted(p.name for p in disk.iterdir()) == ["other", report.name]
    document = json.loads(other.read_text())
    assert (document["status"], len(document["findings"])) == ("complete", IMAGES)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_report_that_grows_ends_with_a_whole_row_and_is_called_a_part(disk, scan, suffix):
    report = disk / f"r.{suffix}"
    code, err = scan("-o", report)
    hint = "; what is there is only a part"
    assert (code, err) == (2, f"fakescan: {report}: cannot be written ({FULL}){hint}\n")
    text = report.read_text()
    assert text.endswith("\n")
    if suffix == "csv":
        found = list(csv.DictReader(text.splitlines()))
    else:
        found = [json.loads(line) for line in text.splitlines()]
    assert 10 < len(found) < IMAGES
    assert {row["verdict"] for row in found} == {"fake"}
    assert found[-1]["detector"]


def test_a_summary_and_every_failure_are_told(disk, scan, tmp_path):
    reports = [disk / "a.json", tmp_path / "b.csv", disk / "c.html"]
    code, err = scan(*[x for report in reports for x in ("-o", report)])
    assert code == 2
    assert err.startswith(f"{IMAGES} images: ")
    last = err.splitlines()[-1].removeprefix("fakescan: ")
    assert sorted(last.split("; ")) == [
        f"{disk}/{name}: cannot be written ({FULL})" for name in ("a.json", "c.html")
    ]
    assert len(reports[1].read_text().splitlines()) == IMAGES + 1


def test_nothing_is_moved_when_its_report_could_not_be_written(disk, scan, images, tmp_path):
    flags = ["-o", disk / "r.json", "-o", tmp_path / "r.csv", "--move-flagged", tmp_path / "aside"]
    assert scan(*flags)[0] == 2
    assert len(list(images.iterdir())) == IMAGES


def test_a_cache_without_room_is_a_warning_and_the_scan_goes_on(disk, scan, tmp_path):
    report = tmp_path / "r.json"
    code, err = scan("-o", report, FAKESCAN_CACHE_DIR=disk)
    assert code == 0
    assert f"warning: {disk / NAME}: the cache of scores cannot be used (" in err
    assert "full" in err
    assert json.loads(report.read_text())["counts"]["fake"] == IMAGES


def test_a_spool_without_room_is_an_error_of_its_report(disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(disk))

    def fill():
        with Spool() as spool:
            spool.add("x" * 2_000_000)
            yield from spool.pieces()

    with pytest.raises(OutputError, match=f"{disk}: cannot be written"):
        list(fill())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_findings_do_not_wait_for_a_report_that_failed(tmp_path):
    (tmp_path / "full.csv").symlink_to("/dev/full")
    files = [tmp_path / "full.csv", tmp_path / "r.csv"]
    findings = (Finding(path=f"{i:01000}", verdict=Verdict.REAL) for i in range(10_000))
    tracemalloc.start()
    opening = [partial(FileOutput, file, "csv") for file in files]
    (failed,) = write_report(report(findings), opening, None, Console())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failed == f"{files[0]}: cannot be written ({FULL})"
    assert len(files[1].read_text().splitlines()) == 10_001
    assert peak < 3_000_000
