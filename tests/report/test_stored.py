"""Reports read again: the same findings from every format, in any number, without holding them."""

import csv
import io
import json
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fakescan.cli import main
from fakescan.errors import ReportError
from fakescan.records import Finding, Verdict
from fakescan.report import FORMATS
from fakescan.report.difference import changes
from fakescan.report.stored import open_report
from reports import FINDINGS, paths, report, written

READABLE = ("json", "jsonl", "csv", "parquet")


def stored(folder, name, findings=FINDINGS, **state):
    path = folder / f"r.{name}"
    if name == "parquet":
        path.write_bytes(b"".join(FORMATS[name].writer(report(findings, **state))))
    else:
        path.write_bytes(written(name, findings, **state).encode("utf-8", "surrogateescape"))
    return path


def as_stored(finding, name):
    """A finding as a format keeps it."""
    digits = {k: None if (v := getattr(finding, k)) is None else round(v, 6)
              for k in ("score", "logit")}  # fmt: skip
    sha256 = None if name == "csv" else finding.sha256
    return replace(finding, thumbnail=None, sha256=sha256, **digits)


@pytest.mark.parametrize("name", READABLE)
def test_findings_come_back_from_every_format(tmp_path, name):
    found = list(open_report(stored(tmp_path, name)).findings())
    assert found == [as_stored(f, name) for f in FINDINGS]


@pytest.mark.parametrize("name", READABLE)
def test_scores_under_perturbations_come_back(tmp_path, name):
    perturbed = (("jpeg:75", 0.25), ("blur:2", 0.75))
    findings = [replace(FINDINGS[0], perturbed=perturbed, stable=False, thumbnail=None)]
    path = stored(tmp_path, name, findings, settings={"perturbations": ["jpeg:75", "blur:2"]})
    assert list(open_report(path).findings()) == [as_stored(findings[0], name)]


@pytest.mark.parametrize("name", READABLE)
@settings(deadline=None)
@given(path=paths)
def test_any_path_comes_back(tmp_path_factory, name, path):
    finding = Finding(path=path, verdict=Verdict.ERROR, error="gone", detector="t@1")
    place = stored(tmp_path_factory.mktemp("any"), name, [finding])
    assert [f.path for f in open_report(place).findings()] == [path]


@pytest.mark.parametrize("name", ["json", "parquet"])
@pytest.mark.parametrize("findings", [FINDINGS, ()])
def test_what_a_report_says_of_its_scan_comes_back(tmp_path, name, findings):
    said = open_report(stored(tmp_path, name, findings)).said
    document = json.loads(written("json", findings))
    document.pop("findings")
    assert said == document


def test_a_json_report_that_another_program_laid_out_is_read_too(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(json.loads(written("json"))))
    assert [f.verdict for f in open_report(path).findings()] == [f.verdict for f in FINDINGS]
    assert open_report(path).said["status"] == "complete"


def test_a_parquet_report_has_a_typed_column_for_each_of_csv_and_groups_of_rows(tmp_path):
    many = (Finding(path=f"{i}.png", verdict=Verdict.FAKE, score=0.5) for i in range(25_000))
    table = parquet.ParquetFile(stored(tmp_path, "parquet", many))
    header = next(csv.reader(io.StringIO(written("csv"))))
    assert table.schema_arrow.names == [*header, "sha256", "path_b64"]
    assert str(table.schema_arrow.field("score").type) == "double"
    assert [table.metadata.row_group(i).num_rows for i in range(3)] == [10_000, 10_000, 5_000]
    table.close()


@pytest.mark.parametrize("name", READABLE)
def test_memory_does_not_grow_with_a_report(tmp_path, name):
    def many(count):
        return (Finding(path=f"{i:0100}", verdict=Verdict.REAL, score=0.1) for i in range(count))

    peaks = []
    for count in (20_000, 60_000):
        path = stored(tmp_path, name, many(count))
        tracemalloc.start()
        assert sum(1 for _ in open_report(path).findings()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.json", "{"),
        ("r.json", '{"findings": 3}'),
        ("r.jsonl", "not json\n"),
        ("r.jsonl", '{"a": 1}\n'),
        ("r.csv", "name,size\nx,1\n"),
        ("r.parquet", "PAR1"),
        ("r.html", "<html>"),
        ("r.sarif", "{}"),
    ],
)
def test_what_is_no_report_is_refused_by_name(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=name):
        list(open_report(tmp_path / name).findings())


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(ReportError, match="no such file"):
        open_report(tmp_path / "none.json")


def test_summaries_add_up_over_reports_of_all_formats(tmp_path, capsys):
    places = [str(stored(tmp_path, name)) for name in READABLE]
    assert main(["report", "summarise", "--json", *places]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"real": 4, "uncertain": 4, "fake": 4, "error": 4}
    assert said["scores"] == [4, 0, 0, 0, 0, 4, 0, 0, 0, 4]
    assert said["errors"] == {"damaged: image file is truncated": 4}
    assert main(["report", "summarise", *places]) == 0
    out = capsys.readouterr().out
    assert out.startswith("16 images in 4 reports: 4 real, 4 uncertain, 4 fake, 4 error\n")
    assert "\x1b" not in out


verdicts = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["real", "fake"]))


@settings(deadline=None)
@given(before=verdicts, after=verdicts)
def test_changes_are_those_of_two_dictionaries(before, after):
    def findings(rows):
        scores = {"real": 0.1, "fake": 0.9}
        return [Finding(path=p, verdict=Verdict(v), score=scores[v]) for p, v in rows.items()]

    found = {(c.kind, c.path) for c in changes(findings(before), findings(after))}
    assert found == (
        {("new", p) for p in after.keys() - before.keys()}
        | {("gone", p) for p in before.keys() - after.keys()}
        | {("verdict", p) for p in before.keys() & after.keys() if before[p] != after[p]}
    )


def test_diff_tells_counts_first_changes_and_writes_all(tmp_path, capsys):
    old = stored(tmp_path, "csv")
    moved = [replace(FINDINGS[0], score=0.9, verdict=Verdict.FAKE), *FINDINGS[2:],
             Finding(path="new.png", verdict=Verdict.REAL, score=0.2)]  # fmt: skip
    new = stored(tmp_path, "jsonl", moved)
    assert main(["report", "diff", str(old), str(new), "-o", str(tmp_path / "c.csv")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "1 new, 1 gone, 1 other verdict, 0 other score"
    assert out[1] == "     real -> fake       photos/a.jpg"
    rows = csv.DictReader(io.StringIO((tmp_path / "c.csv").read_text(), newline=""))
    assert [row["kind"] for row in rows] == ["verdict", "new", "gone"]


def test_the_worst_of_several_reports_make_a_page(tmp_path, capsys):
    places = [str(stored(tmp_path, name)) for name in ("json", "parquet")]
    page = tmp_path / "worst.html"
    arguments = ["report", "convert", *places, "--worst", "3", "-o", str(page)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "8 images: 2 real, 2 uncertain, 2 fake, 2 error\n"
    assert page.read_text().count("cmd()") == 2
    assert '"left_out": 5, ' in page.read_text()
    assert 'b, \\"quoted' in page.read_text()
    assert "photos/a.jpg" not in page.read_text()


@pytest.mark.parametrize("source", READABLE)
@pytest.mark.parametrize("target", READABLE)
def test_a_report_is_converted_to_every_format_and_back(tmp_path, source, target, capsys):
    (tmp_path / "in").mkdir()
    place, out = stored(tmp_path / "in", source), tmp_path / f"out.{target}"
    code = main(["report", "convert", str(place), "-o", str(out)])
    if target == "json" and source in ("csv", "jsonl"):
        assert code == 2
        assert "shows thresholds" in capsys.readouterr().err
        return
    assert code == 0
    kept = [as_stored(f, "csv" if "csv" in (source, target) else source) for f in FINDINGS]
    assert list(open_report(out).findings()) == kept
