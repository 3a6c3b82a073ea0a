import base64
import csv
import io
import json
import os
import re
from itertools import count, zip_longest
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from fakescan.records import Finding, Verdict
from fakescan.report import FORMATS, streams
from fakescan.report.delimited import FORMULA
from fakescan.report.record import COLUMNS
from reports import FINDINGS, paths, report, written

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"
TEXTS = [name for name, format_ in FORMATS.items() if not format_.is_binary]
STREAMED = sorted(set(TEXTS) - {"junit"})
"""All texts but those whose counts come first."""


@pytest.mark.parametrize("name", TEXTS)
def test_golden(name, request):
    text = without_assets(written(name)).encode("utf-8", "surrogateescape")
    path = GOLDEN / f"report.{name}"
    if request.config.getoption("--update-golden"):
        path.write_bytes(text)
    assert text == path.read_bytes()


def without_assets(text):
    """The text; of a page, without its style and script, which have files of their own."""
    text = re.sub(r"<style>.+</style>|<script>.+</script>", "", text, flags=re.DOTALL)
    return re.sub(r"sha256-[\w+/]{43}=", "sha256-", text)


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
    assert ",".join(COLUMNS) == (
        "path,verdict,score,logit,width,height,format,error,detector,provenance,provenance_detail"
    )


@pytest.mark.parametrize("name", STREAMED)
def test_a_finding_is_written_before_the_next_is_asked_for(name):
    asked = count(1)
    taken = 0

    def endless():
        nonlocal taken
        for taken in asked:
            yield Finding(path=f"{taken}.png", verdict=Verdict.FAKE, score=0.9)

    text = ""
    for piece in FORMATS[name].writer(report(endless())):
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

    texts = dict.fromkeys(STREAMED, "")
    writers = [FORMATS[name].writer for name in STREAMED]
    for pieces in zip_longest(*streams(report(findings()), writers), fillvalue=""):
        for name, piece in zip(STREAMED, pieces, strict=True):
            texts[name] += piece
        for name in ("csv", "html", "json", "jsonl"):
            assert texts[name].count("tiny@0123456789ab") == len(read)
    assert len(read) == len(FINDINGS)
    assert texts == {name: written(name) for name in STREAMED}
