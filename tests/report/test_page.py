import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given

from fakescan.records import FLAGGED, Finding, Verdict
from fakescan.report.table import visible
from reports import FINDINGS, paths, written

BLOCK = re.compile(r'<script type="application/json" id="(\w+)">(.*?)</script>', re.DOTALL)


def blocks(text):
    return {name: json.loads(body) for name, body in BLOCK.findall(text)}


def test_the_page_carries_findings_thumbnails_and_counts():
    found = blocks(written("html"))
    assert [f["verdict"] for f in found["findings"]] == ["real", "uncertain", "fake", "error"]
    assert base64.b64decode(found["findings"][0]["thumbnail"]) == b"RIFF"
    assert found["scan"]["detector"]["t_fake"] == 0.8
    assert found["summary"] == {
        "is_complete": True, "left_out": 0, "skipped": {"not an image": 3}, "elapsed_s": 1.25,
    }  # fmt: skip


@pytest.mark.parametrize(("flagged", "left_out"), [(FLAGGED, 1), ({Verdict.FAKE}, 2)])
def test_images_that_were_left_out_are_counted(flagged, left_out):
    found = blocks(written("html", FINDINGS, flagged=flagged, is_only_flagged=True))
    assert found["summary"]["left_out"] == left_out


def test_the_page_says_where_a_figure_lies():
    link = "my%20scan.html.explain/a-0123.png"
    explained = replace(FINDINGS[0], figure_link=link)
    rows = blocks(written("html", [explained, FINDINGS[1]]))["findings"]
    assert [row.get("figure") for row in rows] == [link, None]


def test_the_policy_allows_the_page_its_own_style_and_script_and_nothing_else():
    page = written("html")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy


def test_the_page_names_no_address():
    own = written("html").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:)?//\w|\b(?:src|href)=", own)


def test_a_page_without_findings_is_a_page_too():
    assert blocks(written("html", ()))["findings"] == []


@pytest.mark.parametrize(
    "path", ["</script><script>alert(1)</script>", "<!--<script>", "@summary@"]
)
def test_no_path_is_markup_or_a_place_in_the_template(path):
    text = written("html", [Finding(path=path, verdict=Verdict.FAKE, score=1.0)])
    assert text.count("<script") == written("html", ()).count("<script")
    assert blocks(text)["findings"][0]["path"] == path
    assert blocks(text)["summary"]["is_complete"]


@given(paths)
def test_any_path_is_shown_in_printable_characters(path):
    finding = Finding(path=path, verdict=Verdict.ERROR, error=f"no {path}")
    text = written("html", [finding])
    text.encode()  # it is UTF-8
    (row,) = blocks(text)["findings"]
    assert row["path"] == visible(path)
    assert row["error"] == visible(f"no {path}")
