# ruff: noqa: PTH118

import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema
import pytest
from hypothesis import given

from fakescan.records import Finding, Verdict
from fakescan.report.sarif import RESULTS_PER_RUN
from reports import FINDINGS, paths, written

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text())


def fake(path, **values):
    return Finding(path=path, verdict=Verdict.FAKE, score=0.9, **values)


def runs(findings=FINDINGS, **state):
    return json.loads(written("sarif", findings, **state))["runs"]


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("findings", [FINDINGS, FINDINGS * 2, FINDINGS[:1], ()])
def test_the_published_schema_holds(findings, is_complete):
    document = json.loads(written("sarif", findings, is_complete=is_complete))
    jsonschema.Draft4Validator(SCHEMA).validate(document)
    assert document["runs"][-1]["invocations"][0]["executionSuccessful"] is is_complete


def test_only_flagged_images_are_results_and_errors_are_notifications():
    (run,) = runs()
    assert [r["ruleId"] for r in run["results"]] == ["uncertain-image", "fake-image"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == [
        r["ruleId"] for r in run["results"]
    ]
    (invocation,) = run["invocations"]
    (notification,) = invocation["toolExecutionNotifications"]
    assert "damaged: image file is truncated" in notification["message"]["text"]
    assert invocation["properties"]["counts"]["real"] == 1


def test_what_flagged_means_can_be_chosen():
    (run,) = json.loads(written("sarif", flagged={Verdict.FAKE, Verdict.ERROR}))["runs"]
    assert [r["ruleId"] for r in run["results"]] == ["fake-image"]
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 1


def test_a_result_is_known_again_by_the_content_of_its_file():
    (run,) = runs([fake("a.jpg", sha256="ab" * 32)])
    assert run["results"][0]["partialFingerprints"] == {"contentSha256/v1": "ab" * 32}


def test_every_result_has_a_line_because_viewers_need_one():
    for result in runs()[0]["results"]:
        assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}


def test_a_run_that_is_full_is_followed_by_another_of_its_own_category():
    found = runs(fake(f"{i}.jpg") for i in range(RESULTS_PER_RUN + 1))
    assert [len(run["results"]) for run in found] == [RESULTS_PER_RUN, 1]
    assert [run["automationDetails"]["id"] for run in found] == ["fakescan/", "fakescan-2/"]
    assert [len(run.get("invocations", ())) for run in found] == [0, 1]


@pytest.mark.parametrize(
    ("path", "uri", "base"),
    [
        ("photos/a b.jpg", "photos/a%20b.jpg", "%SRCROOT%"),
        ("./photos/../c#1.jpg", "c%231.jpg", "%SRCROOT%"),
        ("/home/me/photos/a.jpg", "photos/a.jpg", "%SRCROOT%"),
        ("x:y.jpg", "x%3Ay.jpg", "%SRCROOT%"),  # no scheme
        ("../other/a.jpg", "file:///home/other/a.jpg", None),
        ("/mnt/a.jpg", "file:///mnt/a.jpg", None),
        ("..a.jpg", "..a.jpg", "%SRCROOT%"),
        ("caf\udce9.jpg", "caf%E9.jpg", "%SRCROOT%"),
    ],
)
@pytest.mark.skipif(os.sep != "/", reason="POSIX paths")
def test_a_place_is_relative_where_it_can_be(path, uri, base):
    place = runs([fake(path)])[0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"].get("uri") == uri
    assert place["artifactLocation"].get("uriBaseId") == base


@given(paths)
@pytest.mark.skipif(os.sep != "/", reason="POSIX paths")
def test_a_uri_gives_any_path_back(path):
    (run,) = runs([fake(path), Finding(path=path, verdict=Verdict.ERROR, error=f"no {path}")])
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    parts = urlsplit(uri)
    assert (parts.netloc, parts.query, parts.fragment) == ("", "", "")
    found = os.path.join("/home/me", os.fsdecode(unquote_to_bytes(parts.path)))
    assert os.path.normpath(found) == os.path.normpath(os.path.join("/home/me", path))
