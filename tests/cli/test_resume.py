"""Scans that are killed at random points, and started again."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys

import pytest
from PIL import Image

from fakescan.scan.cache import NAME, contents_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

IMAGES = 120
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


@pytest.fixture
def folder(tmp_path):
    """Images that all differ."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(IMAGES):
        Image.new("RGB", (20, 20), (i, 2 * i, 255 - i)).save(folder / f"{i:03}.png")
        os.utime(folder / f"{i:03}.png", (1e9, 1e9))
    return folder


def start(folder, tiny, *arguments):
    command = [sys.executable, "-m", "fakescan", "scan", "-j", "1", "--model", tiny, folder]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(folder, tiny):
    """Findings of a scan that nobody disturbs, and how many scores it knew."""
    out, err = start(folder, tiny, "-f", "jsonl").communicate()
    known = re.search(r"cache: (\d+) of", err)
    return [json.loads(line) for line in out.splitlines()], int(known[1]) if known else 0


@pytest.mark.parametrize(
    ("number", "seed"),
    [
        (signal.SIGKILL, 0),
        *(pytest.param(n, s, marks=pytest.mark.slow) for n in CODES for s in (1, 2, 3)),
    ],
)
def test_a_killed_scan_goes_on_where_it_stopped(folder, tiny, cache_folder, number, seed):
    chance = random.Random(seed)
    reports = folder.parent / "r.csv", folder.parent / "r.jsonl"
    met = {}
    for rows in sorted(chance.sample(range(1, IMAGES - 20), 2)):
        before = _scores(cache_folder)
        process = start(folder, tiny, "-f", "jsonl", *[x for r in reports for x in ("-o", r)])
        lines = [process.stdout.readline() for _ in range(rows)]
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == CODES[number], err
        assert ("this report is partial" in err) == (number != signal.SIGKILL)
        found = [json.loads(line) for line in (*lines, *out.splitlines())]
        assert _read(reports[1])[: len(found)] == found
        with reports[0].open(newline="") as stream:
            assert [r["path"] for r in csv.DictReader(stream)][:rows] == [
                f["path"] for f in found[:rows]
            ]
        met |= {f["path"]: f for f in found}
        assert before <= _scores(cache_folder)
        assert len(met) <= _scores(cache_folder)
    kept = _scores(cache_folder)
    assert len(met) <= kept < IMAGES
    complete, known = finish(folder, tiny)
    assert known == kept
    assert _scores(cache_folder) == len(complete) == IMAGES
    (cache_folder / NAME).unlink()
    undisturbed, known = finish(folder, tiny)
    assert (complete, known) == (undisturbed, 0)
    assert met.items() <= {f["path"]: f for f in undisturbed}.items()


def _scores(cache_folder):
    return sum(contents_of(cache_folder / NAME).scores.values())


def _read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
