import base64
import csv
import io
import json
import os
from itertools import count
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.records import Finding, Summary, Verdict
from fakescan.report import WRITERS, Report, chunks
from fakescan.report.delimited import FORMULA
from fakescan.report.record import COLUMNS

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"
FINDINGS = (
    Finding(
        path="photos/a.jpg", verdict=Verdict.REAL, score=0.0123456789, logit=-4.3820266,
        width=640, height=480, format="JPEG", detector="tiny@0123456789ab",
    ),
    Finding(
        path="photos/b, \"quoted\".png", verdict=Verdict.UNCERTAIN, score=0.5, logit=0.0,
        width=1, height=1, format="PNG", detector="tiny@0123456789ab",
    ),
    Finding(
        path="=cmd()\n\x1b[31m[bold]é", verdict=Verdict.FAKE, score=1.0, logit=17.25,
        width=30000, height=2, format="AVIF", detector="tiny@0123456789ab",
    ),
    Finding(
        path="caf\udce9.gif", verdict=Verdict.ERROR, error="damaged: image file is truncated",
        detector="tiny@0123456789ab",
    ),
)  # fmt: skip


def report(findings=FINDINGS, *, is_complete=True):
    summary = Summary(elapsed_s=1.25)
    summary.skipped["not an image"] = 3

    def run():
        yield from summary.watch(findings)
        summary.is_complete = is_complete

    return Report(
        findings=run(),
        summary=summary,
        detector={"name": "tiny", "sha256": "0" * 64, "precision": "fp32",
                  "t_fake": 0.8, "t_real": 0.3},
        settings={"threshold": None, "timeout_s": 60.0, "device": "cpu"},
        version="1.2.3",
    )  # fmt: skip


def written(name, findings=FINDINGS, **state):
    return "".join(WRITERS[name](report(findings, **state)))


@pytest.mark.parametrize("name", WRITERS)
def test_golden(name, request):
    text = written(name).encode("utf-8", "surrogateescape")
    path = GOLDEN / f"report.{name}"
    if request.config.getoption("--update-golden"):
        path.write_bytes(text)
    assert text == path.read_bytes()


paths = st.binary(min_size=1).map(os.fsdecode) | st.text(st.characters(exclude_categories=["Cs"]))


@given(paths)
def test_csv_gives_any_path_back_and_no_formula(path):
    text = written("csv", [Finding(path=path, verdict=Verdict.ERROR, error=path)])
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == COLUMNS
    for cell in (row[COLUMNS.index("path")], row[COLUMNS.index("error")]):
        assert cell[:1] not in tuple("=+-@\t\r\n")
        assert (cell.removeprefix("'") if FORMULA.match(path) else cell) == path


@given(paths)
def test_json_gives_any_path_back(path):
    finding = Finding(path=path, verdict=Verdict.ERROR, error=f"no {path}")
    line = written("jsonl", [finding])
    line.encode()  # it is UTF-8
    assert line.count("\n") == 1
    row = json.loads(line)
    if "path_b64" in row:
        assert os.fsdecode(base64.b64decode(row["path_b64"])) == path
    else:
        assert row["path"] == path
    assert json.loads(written("json", [finding]))["findings"] == [row]


@given(paths)
def test_a_table_shows_a_line_per_finding_and_no_control_character(path):
    lines = written("table", [Finding(path=path, verdict=Verdict.FAKE, score=0.5)]).splitlines()
    assert len(lines) == 2
    assert lines[1].isprintable()


def test_numbers_are_not_taken_for_formulas():
    rows = list(csv.DictReader(io.StringIO(written("csv"), newline="")))
    assert rows[0]["logit"] == "-4.382027"
    assert rows[0]["score"] == "0.012346"
    assert rows[3]["score"] == ""


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("findings", [FINDINGS, ()])
def test_json_follows_its_schema(findings, is_complete):
    schema = json.loads(SCHEMA.read_text())
    document = json.loads(written("json", findings, is_complete=is_complete))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert document["status"] == ("complete" if is_complete else "partial")
    assert sum(document["counts"].values()) == len(findings)


def test_the_keys_of_a_report_are_pinned():
    document = json.loads(written("json"))
    assert list(document) == [
        "fakescan_report_version", "fakescan", "detector", "settings", "findings",
        "status", "counts", "skipped", "elapsed_s",
    ]  # fmt: skip
    assert list(document["findings"][0]) == list(COLUMNS)
    assert ",".join(COLUMNS) == "path,verdict,score,logit,width,height,format,error,detector"


@pytest.mark.parametrize("name", WRITERS)
def test_a_finding_is_written_before_the_next_is_asked_for(name):
    asked = count(1)
    taken = 0

    def endless():
        nonlocal taken
        for taken in asked:
            yield Finding(path=f"{taken}.png", verdict=Verdict.REAL, score=0.1)

    text = ""
    for piece in WRITERS[name](report(endless())):
        text += piece
        if taken:
            assert f"{taken}.png" in text
        if taken == 5:
            break


def test_several_writers_share_one_pass_and_hold_one_finding():
    read = []

    def findings():
        for finding in FINDINGS:
            read.append(finding)
            yield finding

    texts = dict.fromkeys(WRITERS, "")
    for pieces in chunks(report(findings()), list(WRITERS.values())):
        for name, piece in zip(WRITERS, pieces, strict=True):
            texts[name] += piece
        assert [text.count("tiny@0123456789ab") for text in texts.values()] == [
            *[len(read)] * 3,
            0,  # the table does not show it
        ]
    assert len(read) == len(FINDINGS)
    assert texts == {name: written(name) for name in WRITERS}
