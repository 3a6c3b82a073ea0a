import xml.etree.ElementTree as ET
from itertools import count

import pytest
from hypothesis import given

from fakescan.records import Finding, Verdict
from fakescan.report import FORMATS
from fakescan.report.table import visible
from reports import FINDINGS, paths, report, written


def suite(findings=FINDINGS, **state):
    (found,) = ET.fromstring(written("junit", findings, **state).encode())
    return found


def test_each_image_is_a_case_with_an_outcome_for_its_verdict():
    cases = suite().findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [
        [], ["skipped"], ["failure"], ["error"],
    ]  # fmt: skip
    assert cases[0].get("name") == "photos/a.jpg"
    assert "score 1.000; fake from 0.800" in cases[2][0].get("message")
    assert "truncated" in cases[3][0].text


def test_the_suite_counts_its_cases():
    found = suite(FINDINGS * 2)
    counts = [int(found.get(k)) for k in ("tests", "failures", "errors", "skipped")]
    assert counts == [8, 2, 2, 2]
    assert found.get("time") == "1.25"


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_partial_report_says_so(is_complete):
    facts = {p.get("name"): p.get("value") for p in suite(is_complete=is_complete)[0]}
    assert facts["status"] == ("complete" if is_complete else "partial")
    assert facts["detector.name"] == "tiny"


@given(paths)
def test_any_path_makes_valid_xml_and_one_printable_name(path):
    finding = Finding(path=path, verdict=Verdict.ERROR, error=f"]]> & <b> {path}")
    (case,) = suite([finding]).findall("testcase")
    assert case.get("name") == visible(path)
    assert visible(path) in case[0].text


def test_many_cases_do_not_stay_in_memory():
    findings = (Finding(path=f"{i:0>500}", verdict=Verdict.REAL, score=0.1) for i in range(5000))
    writer = FORMATS["junit"].writer(report(findings))
    pieces = [len(piece) for piece, _ in zip(writer, count(), strict=False)]
    assert sum(pieces) > 2e6
    assert max(pieces) < 1e5
