"""Ray Data as the engine: the rows of a local scan, whatever dies in between.

Everything runs in processes of its own, so that nothing of Ray stays behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.engines.ray import BLOCK, RayEngine
from fakescan.errors import ConfigError
from fakescan.export.graph import build_graph
from fakescan.records import Summary
from fakescan.scan.archive import ArchiveLimits
from fakescan.scan.pipeline import ScanSettings
from fakescan.session import OnnxSession
from towers import tiny_metadata, tiny_model

IMAGES = 9 * BLOCK + 7
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    noise = random.integers(0, 60, (700, 700, 3), np.uint8)
    for i in range(IMAGES):
        Image.fromarray(noise + np.uint8(i % 190)).save(folder / f"{i:05}.jpg", quality=90)
    (folder / "00003.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def local_rows(photos, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    done = run(tiny, photos, folder / "r.jsonl", folder, "--engine", "local")
    assert done.returncode == 0
    return rows(folder / "r.jsonl")


def command(tiny, photos, output, *options):
    return [
        *(sys.executable, "-m", "fakescan", "scan", "--model", str(tiny)),
        *(str(photos), "-o", str(output), *(options if "-j" in options else ("-j", "2", *options))),
    ]


def run(tiny, photos, output, cache, *options):
    return subprocess.run(
        command(tiny, photos, output, *options),
        env=os.environ | {"FAKESCAN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def rows(path):
    return sorted(path.read_text().splitlines())


def below(pid):
    """Processes that a process has started, and those they have, with their titles."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            titles[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue
        parents[int(folder.name)] = int(stat[1])
    found = {pid}
    while new := {p for p, parent in parents.items() if parent in found} - found:
        found |= new
    return {p: titles[p] for p in found - {pid}}


def wait_until(condition, process, seconds=240):
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def count(path):
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def started(tiny, photos, output, cache):
    return subprocess.Popen(
        command(tiny, photos, output, "--engine", "ray"),
        env=os.environ | {"FAKESCAN_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ScoreTable", "decode_table"])
def test_an_actor_or_a_worker_that_is_killed_costs_no_row_and_doubles_none(
    photos, tiny, local_rows, tmp_path, victim
):
    output = tmp_path / "r.jsonl"
    process = started(tiny, photos, output, tmp_path)
    try:
        wait_until(lambda: count(output) > 5, process)
        found = wait_until(
            lambda: [p for p, title in below(process.pid).items() if victim in title], process
        )
        os.kill(found[0], signal.SIGKILL)
        assert count(output) < IMAGES
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert rows(output) == local_rows


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was_and_leaves_no_process(
    photos, tiny, local_rows, tmp_path
):
    output = tmp_path / "r.jsonl"
    process = started(tiny, photos, output, tmp_path)
    try:
        wait_until(lambda: count(output) > BLOCK, process)
        children = below(process.pid)
    finally:
        process.kill()
        process.communicate()
    kept = count(output)
    assert BLOCK < kept < IMAGES
    done = run(tiny, photos, output, tmp_path, "--engine", "ray")
    assert done.returncode == 0, done.stderr
    assert rows(output) == local_rows
    known = int(done.stderr.split("cache: ")[1].split()[0])
    assert known >= kept - 1  # one of the rows is an error, which is not kept
    give_up = time.monotonic() + 60  # they notice by themselves, some after half a minute
    while left := [title for p, title in children.items() if Path(f"/proc/{p}").exists()]:
        assert time.monotonic() < give_up, left
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ["stored", "fast"])
def test_the_summary_of_a_scan_with_ray_is_that_of_a_local_one(photos, tmp_path, arithmetic):
    model, reports = tiny_model(), {}
    onnx.save(build_graph(model, tiny_metadata(model, "int8")), tmp_path / "d.onnx")
    for engine in ("local", "ray"):
        output = tmp_path / f"{engine}.json"
        options = ("--engine", engine, "--no-cache", "--perturb", "jpeg:75", "--include", "*0.jpg")
        options += ("--arithmetic", arithmetic)
        done = run(tmp_path / "d.onnx", photos, output, tmp_path, *options)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stderr.splitlines() if "core_worker.cc" not in line]
        assert lines[0].endswith("images/s)")  # nothing else of Ray is printed
        report = json.loads(output.read_text())
        findings = sorted(report.pop("findings"), key=lambda row: row["path"])
        reports[engine] = [report[k] for k in ("counts", "skipped", "status", "detector")], findings
    assert reports["ray"] == reports["local"]
    assert ("int8-fast" in reports["ray"][0][3]["arithmetic"]) == (arithmetic == "fast")
    assert len(reports["ray"][1]) == IMAGES // 10 + 1


@pytest.mark.slow
def test_a_machine_of_one_core_decodes_beside_its_actors(photos, tiny, local_rows, tmp_path):
    output = tmp_path / "r.jsonl"
    options = ("--engine", "ray", "-j", "1", "--actors", "3", "--include", "0000*")
    done = run(tiny, photos, output, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert "UserWarning" not in done.stderr  # there are no more actors than blocks
    assert rows(output) == [row for row in local_rows if "/0000" in row]


@pytest.mark.slow
def test_as_many_tasks_decode_as_there_are_cores(photos, tiny, tmp_path):
    output = tmp_path / "r.jsonl"
    process = started(tiny, photos, output, tmp_path)

    def decoding():
        return sum("decode_table" in title for title in below(process.pid).values()) >= 2

    try:
        assert wait_until(decoding, process)
    finally:
        process.kill()
        process.communicate()


def test_threads_are_refused_since_ray_shares_out_the_cores(photos, tiny, capsys):
    command = ["scan", str(photos), "--model", str(tiny), "--engine", "ray", "--threads", "2"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said == "fakescan: --threads: Ray shares out the cores; choose --actors instead\n"


def test_ray_that_is_not_installed_is_one_line(photos, tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["scan", "--model", str(tiny), str(photos), "--engine", "ray"]) == 2
    assert capsys.readouterr().err == (
        "fakescan: --engine ray: needs more: pip install 'fakescan[ray]'\n"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"archives": ArchiveLimits()}, "does not open archives"),
        ({"explain": ("fake",)}, "draws no figures"),
        ({"attribute": print}, "names no generators"),
    ],
)
def test_what_this_engine_does_not_do_is_said_before_anything_starts(tiny, settings, reason):
    with pytest.raises(ConfigError, match=reason):
        RayEngine(model=tiny).scan([], OnnxSession(tiny), ScanSettings(**settings), Summary())
