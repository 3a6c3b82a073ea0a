import re

import pytest
from hypothesis import given

from fakescan.records import Finding, Verdict
from reports import paths, written

COMMAND = re.compile(r"::(?P<level>\w+) (?P<properties>.*?)::(?P<text>.*)\n")
ESCAPED = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


def unescaped(text):
    return re.sub("|".join(ESCAPED), lambda match: ESCAPED[match[0]], text)


def command(path, verdict=Verdict.FAKE, **values):
    """Level, properties and text of a finding's line, as a runner reads them."""
    finding = Finding(path=path, verdict=verdict, **({"score": 0.9} | values))
    match = COMMAND.fullmatch(written("github", [finding]))
    properties = dict(p.split("=", 1) for p in match["properties"].split(","))
    return match["level"], {k: unescaped(v) for k, v in properties.items()}, match["text"]


@pytest.mark.parametrize(
    ("verdict", "level"),
    [(Verdict.FAKE, "warning"), (Verdict.UNCERTAIN, "notice"), (Verdict.ERROR, "warning")],
)
def test_the_level_follows_from_the_verdict_and_is_never_error(verdict, level):
    assert command("a.jpg", verdict)[0] == level


def test_a_real_image_is_no_line():
    assert written("github", [Finding(path="a.jpg", verdict=Verdict.REAL, score=0.1)]) == ""


@pytest.mark.skipif("sys.platform == 'win32'")
def test_a_file_of_the_repository_is_named_from_its_root():
    assert command("/home/me/sub/a,b: 100%.jpg")[1]["file"] == "sub/a,b: 100%.jpg"
    assert "file" not in command("/mnt/a.jpg")[1]


def test_a_path_cannot_start_a_command_of_its_own():
    text = written("github", [Finding(path="a\n::error::b\r.jpg", verdict=Verdict.FAKE, score=1)])
    assert text.count("\n") == 1
    assert "%0A%3A%3Aerror%3A%3Ab%0D" in text


def test_an_interruption_is_a_warning():
    assert written("github", [], is_complete=False).startswith("::warning title=fakescan::")
    assert written("github", []) == ""


@given(paths)
def test_any_path_is_one_line_without_control_characters(path):
    text = written("github", [Finding(path=path, verdict=Verdict.ERROR, error=f"no {path}")])
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    if path.replace("\n", "").replace("\r", "").isprintable():
        assert unescaped(COMMAND.fullmatch(text)["text"]).startswith(f"{path}: Could not be scored")
