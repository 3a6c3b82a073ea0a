import json
from collections import Counter
from itertools import count

import pytest

from fakescan.errors import ConfigError
from fakescan.records import Finding, Summary, Verdict
from fakescan.scan.baseline import KNOWN, Baseline, read_baseline
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.session import OnnxSession

ROWS = [{"sha256": "a", "verdict": "fake"}, {"sha256": None, "verdict": "error"}]


def finding(sha256, verdict=Verdict.FAKE):
    return Finding(path="x", verdict=verdict, sha256=sha256)


def test_a_finding_is_known_by_content_and_verdict():
    skipped = Counter()
    findings = [
        *[finding("a"), finding("a", Verdict.REAL), finding("b"), finding(None, Verdict.ERROR)]
    ]
    left = list(Baseline([("a", "fake")]).unknown(findings, skipped))
    assert left == findings[1:]
    assert skipped == {KNOWN: 1}


def test_known_images_count_as_progress(photos, tiny):
    session, settings = OnnxSession(tiny), ScanSettings(hashes=True)
    found = list(scan([str(photos)], session, settings, Summary()))
    steps = count()
    summary = Summary(progress=lambda: next(steps))
    known = Baseline((f.sha256, f.verdict.value) for f in found)
    assert list(scan([str(photos)], session, settings, summary, known)) == []
    assert next(steps) == len(found) == 4


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_both_json_reports_are_read(tmp_path, name):
    lines = "\n".join(json.dumps(row) for row in ROWS) + "\n"
    text = lines if name.endswith("l") else json.dumps({"findings": ROWS})
    (tmp_path / name).write_text(text)
    assert len(read_baseline(tmp_path / name)) == 1


def test_an_empty_report_knows_nothing(tmp_path):
    (tmp_path / "r.jsonl").write_text("")
    assert len(read_baseline(tmp_path / "r.jsonl")) == 0


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("r.json", None, "no such file"),
        ("r.json", b"", "not a JSON or JSON Lines report"),
        ("r.json", b"[1]", "not a JSON or JSON Lines report"),
        ("r.json", b'{"findings": [1]}', "not a JSON or JSON Lines report"),
        ("r.json", b'{"findings": [{"sha256": "a"}]}', "not a JSON or JSON Lines report"),
        ("r.json", b'{"findings": [{"sha256": [], "verdict": []}]}', "without hashes"),
        ("r.json", b'{"findings": [{"sha256": {"a": 1}, "verdict": "a"}]}', "not a JSON"),
        ("r.json", b"\xff\xfe", "not a JSON or JSON Lines report"),
        ("r.json", b"[" * 100_000, "not a JSON or JSON Lines report"),
        ("r.jsonl", b'{"verdict": "fake"}\n', "a report without hashes; write it with --hash"),
        ("r.jsonl", b"path,verdict\n", "not a JSON or JSON Lines report"),
    ],
)
def test_what_is_no_baseline_is_one_clear_line(tmp_path, name, data, reason):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=reason):
        read_baseline(tmp_path / name)
