"""What is written of an evaluation: JSON, CSV, tables, and one page."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fakescan.errors import ConfigError, OutputError
from fakescan.evaluate.benchmark import FIGURES
from fakescan.evaluate.delimited import COLUMNS, csv_text
from fakescan.evaluate.evaluation import RAW
from fakescan.evaluate.intervals import UNKNOWN
from fakescan.evaluate.record import Report, notes, plain
from fakescan.evaluate.text import markdown_text, table_text
from fakescan.evaluate.write import check_outputs, json_text, write
from fakescan.perturb import ROBUSTNESS

KEYS = {
    "": {"fakescan_evaluation_version", "conditions", "detectors"},
    "conditions": {
        "data", "splits", "by", "pairing", "limit", "protocol", "resamples", "seed", "equalise_px",
        "date", "versions",
    },
    "detector": {
        "detector", "t_fake", "t_real", "is_calibrated", "fakes", "reals", "results",
        "properties_auc", "paper", "difference", "left_out", "surplus", "notes",
    },
    "result": {"rows", "families", "mean", "ece", "reals"},
    "row": {"name", "family", "fakes", "reals", "oracle_threshold", "figures"},
    "figures": {
        "auc", "ap", "ap_unbalanced", "acc", "real_acc", "fake_acc", "tpr_at_1", "tpr_at_5", "ece",
        "uncertain", "oracle_acc",
    },
}  # fmt: skip
"""What readers rely on; a change needs a new version."""


def test_json_has_exactly_these_keys(report):
    values = json.loads(json_text(report))
    assert values["fakescan_evaluation_version"] == 1
    (detector,) = values["detectors"]
    raw = detector["results"]["raw"]
    found = {
        "": values,
        "conditions": values["conditions"],
        "detector": detector,
        "result": raw,
        "row": raw["rows"][0],
        "figures": raw["mean"],
    }
    assert {name: set(value) for name, value in found.items()} == KEYS
    assert set(raw["mean"]["auc"]) == {"value", "low", "high"}
    assert set(raw["rows"][0]["figures"]) == set(raw["mean"])
    assert list(detector["results"]) == ["raw", "equalised", *ROBUSTNESS]
    assert detector["left_out"] == [{"path": "bad.png", "reason": "damaged"}]


def test_what_is_not_known_is_null_and_empty(report):
    (evaluation,) = report.evaluations
    raw = evaluation.conditions[RAW]
    row = raw.benchmark.rows[0]
    figures = replace(row.figures, ece=UNKNOWN)
    rows = (replace(row, figures=figures), *raw.benchmark.rows[1:])
    conditions = {RAW: replace(raw, benchmark=replace(raw.benchmark, rows=rows))}
    without = replace(report, evaluations=(replace(evaluation, conditions=conditions),))
    assert plain(without)["detectors"][0]["results"]["raw"]["rows"][0]["figures"]["ece"] is None
    assert next(csv.DictReader(io.StringIO(csv_text(without))))["ece"] == ""
    assert "nan" not in table_text(without).lower()


def test_csv_has_a_line_per_condition_and_row(report):
    lines = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == (3 + 2 + 1) * (2 + len(ROBUSTNESS))
    benchmark = report.evaluations[0].conditions["jpeg:50"].benchmark
    (line,) = [r for r in lines if (r["condition"], r["name"]) == ("jpeg:50", "gan-a")]
    row = next(r for r in benchmark.rows if r.source == "gan-a")
    assert (line["kind"], line["family"], line["fakes"]) == ("row", "GAN", "12")
    for name in FIGURES:
        estimate = getattr(row.figures, name)
        assert float(line[name]) == pytest.approx(estimate.value, abs=1e-6)
        assert float(line[f"{name}_high"]) == pytest.approx(estimate.high, abs=1e-6)
    assert float(lines[0]["properties_auc"]) <= 1
    assert line["properties_auc"] == ""  # said once, with the raw images


def test_a_family_is_the_mean_of_its_rows(report):
    benchmark = report.evaluations[0].raw
    rows = {row.source: row for row in benchmark.rows}
    families = {row.source: row for row in benchmark.families}
    assert set(families) == {"GAN", "<b>diffusion</b>"}
    aucs = [rows[name].figures.auc.value for name in ("gan-a", "gan-b")]
    assert families["GAN"].figures.auc.value == pytest.approx(sum(aucs) / 2)
    assert (families["GAN"].fakes, families["GAN"].reals) == (24, 12)


def test_tables_show_a_family_only_where_it_says_more(report):
    text = table_text(report)
    assert "family GAN" in text
    assert "family <b>" not in text
    assert re.search(r"^mean +36 +12 ", text, re.MULTILINE)
    assert "left out: bad.png: damaged" in text
    assert "| mean | 36 | 12 |" in markdown_text(report)


def test_notes_say_what_a_reader_must_know(report):
    (evaluation,) = report.evaluations
    found = notes(report, evaluation)
    assert any("fewer than 100 reals: 3 of 3 rows" in line for line in found)
    leaky = replace(evaluation.properties.mean, value=0.9)
    leaking = replace(evaluation, properties=replace(evaluation.properties, mean=leaky))
    assert any("reach a mean AUC of 90.0" in line for line in notes(report, leaking))
    bare = replace(
        evaluation,
        properties=None,
        t_fake=None,
        is_calibrated=False,
        conditions={RAW: evaluation.conditions[RAW]},
    )
    text = "\n".join(notes(report, bare))
    assert "only raw scores" in text
    assert "no accuracy" in text
    assert "no ECE" in text


class Reader(HTMLParser):
    """Tags, pictures and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_nothing_else_and_names_are_no_markup(report):
    from fakescan.evaluate.page import html_text

    page = Reader()
    page.feed(html_text(report))
    assert page.tags.count("img") == 5
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"b", "i", "script", "link"} & set(page.tags)
    text = " ".join(page.words)
    for expected in ("<b>diffusion</b>", "<i>data</i>", "made@0", "bootstrap resamples", "numpy"):
        assert expected in text


def test_a_report_of_two_detectors_has_the_difference(report):
    (first,) = report.evaluations
    other = replace(first, detector="other", differences={RAW: first.raw.mean.auc})
    text = table_text(Report(report.conditions, report.plan, (first, other)))
    assert text.count("ranking") == 2
    assert text.count("mean AUC minus the first detector's") == 1


def test_files_appear_whole_by_their_suffix(report, tmp_path):
    for suffix in (".csv", ".JSON", ".md"):
        write(report, tmp_path / f"result{suffix}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.JSON", "result.csv", "result.md"]
    assert not math.isnan(
        json.loads((tmp_path / "result.JSON").read_text())["detectors"][0]["t_fake"]
    )


def test_outputs_that_cannot_be_written_are_refused_beforehand(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"x.txt: no format; known: .csv, .html, .json, .md"):
        check_outputs([tmp_path / "x.txt"], None)
    with pytest.raises(OutputError, match="it is a folder"):
        check_outputs([tmp_path / "folder.csv"], None)
    with pytest.raises(OutputError, match="its folder does not exist"):
        check_outputs([tmp_path / "none" / "x.csv"], None)
    with pytest.raises(ConfigError, match="the same file twice"):
        check_outputs([tmp_path / "x.csv"] * 2, None)
    with pytest.raises(OutputError, match="it is no folder"):
        check_outputs([], tmp_path / "file")


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fakescan\[evaluate\]'"):
        check_outputs([tmp_path / "x.html"], None)
    check_outputs([tmp_path / "x.csv"], None)
