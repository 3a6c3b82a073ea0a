import contextlib
import inspect
import io
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fakescan.cli import main, settings
from fakescan.cli.scan import scan
from fakescan.config import literal
from fakescan.errors import ConfigError

OPTIONS = settings.options_of(scan)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, and no variables."""
    for name in [n for n in os.environ if n.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def values(file=None):
    return {name: s.value for name, s in settings.given(OPTIONS, file).items()}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_every_option_is_a_setting_or_for_the_command_line_only():
    parameters = set(inspect.signature(scan).parameters)
    assert parameters >= settings.COMMAND_LINE_ONLY
    assert {o.parameter for o in OPTIONS.values()} == parameters - settings.COMMAND_LINE_ONLY


def test_the_nearest_file_upwards_holds(place):
    write(place.parent / "fakescan.toml", "threshold = 0.1")
    assert values() == {"threshold": 0.1}
    write(place / "pyproject.toml", "[tool.other]\nx = 1")
    assert values() == {"threshold": 0.1}
    write(place / "pyproject.toml", "[tool.fakescan]\nthreshold = 0.2")
    assert values() == {"threshold": 0.2}
    write(place / "fakescan.toml", "threshold = 0.3")
    assert values() == {"threshold": 0.3}
    assert values(place / "pyproject.toml") == {"threshold": 0.2}


def test_the_environment_comes_before_the_file(place, monkeypatch):
    write(place / "fakescan.toml", 'threshold = 0.1\nhidden = true\nexclude = ["a", "b"]')
    monkeypatch.setenv("FAKESCAN_THRESHOLD", "1")
    monkeypatch.setenv("FAKESCAN_HIDDEN", "off")
    monkeypatch.setenv("FAKESCAN_EXCLUDE", f"x y{os.pathsep}*.gif")
    monkeypatch.setenv("FAKESCAN_MAX_DEPTH", "3")
    monkeypatch.setenv("FAKESCAN_FORMAT", "")
    assert values() == {
        "threshold": 1.0, "hidden": False, "exclude": ["x y", "*.gif"], "max-depth": 3,
    }  # fmt: skip


def test_a_file_may_be_named_by_a_variable(place, monkeypatch):
    write(place / "fakescan.toml", "threshold = 0.1")
    monkeypatch.setenv("FAKESCAN_CONFIG", str(write(place.parent / "ci.toml", "threshold = 0.2")))
    assert values() == {"threshold": 0.2}


def test_dashes_and_underscores_are_one(place):
    write(place / "fakescan.toml", "max_depth = 2\nmax-filesize = 25")
    assert values() == {"max-depth": 2, "max-filesize": 25.0}


def test_files_are_meant_from_the_folder_of_the_settings_file(place):
    file = write(place.parent / "fakescan.toml", 'baseline = "known.json"\nmodel = "m.onnx"')
    assert values() == {"baseline": place.parent / "known.json", "model": "m.onnx"}
    write(place.parent / "m.onnx", "")
    assert values(file)["model"] == str(place.parent / "m.onnx")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thresold = 1", r"unknown setting 'thresold'; known: format, .*threshold"),
        ('output = ["x"]', "unknown setting 'output'"),
        ("move-flagged = 'x'", "unknown setting 'move-flagged'"),
        ("paths = ['x']", "unknown setting 'paths'"),
        ("[scan]\nthreshold = 1", "unknown setting 'scan'"),
        ("threshold = '1'", "threshold: expected float, got str"),
        ("threshold = true", "threshold: expected float, got bool"),
        ("hidden = 1", "hidden: expected bool, got int"),
        ("exclude = 'x'", "exclude: expected list, got str"),
        ("exclude = [1]", r"exclude\[0\]: expected str, got int"),
        ("workers = 1.5", "workers: expected int, got float"),
        ("format = 'xml'", "format: 'xml'; known: table, csv"),
        ("fail-on = ['real']", r"fail-on\[0\]: 'real'; known: fake, uncertain, error"),
        ("threshold = ", "not readable as TOML"),
    ],
)
def test_what_is_no_setting_is_one_clear_line(place, text, reason, capsys):
    write(place / "fakescan.toml", text)
    with pytest.raises(ConfigError, match=reason):
        values()
    assert main(["scan", "."]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fakescan: {place}/fakescan.toml: ")
    assert err.count("\n") == 1


def test_a_variable_that_makes_no_sense_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("FAKESCAN_THRESHOLD", "high")
    with pytest.raises(ConfigError, match="FAKESCAN_THRESHOLD: expected float, got str"):
        values()


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\nfakescan = 1", "[tool.fakescan]\nx = 1"])
def test_a_project_file_that_is_named_must_have_the_table(place, text):
    file = write(place / "pyproject.toml", text)
    with pytest.raises(ConfigError, match=r"\[tool.fakescan\]"):
        values(file)


def test_a_file_that_is_named_must_exist(place):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        values(place / "none.toml")


@pytest.fixture
def images(tiny, photos):
    return ["scan", str(photos), "-j", "1", "-q", "--model", str(tiny)]


def verdicts(capsys):
    return re.findall(r",(real|uncertain|fake),", capsys.readouterr().out)


def test_an_option_comes_before_the_environment_and_that_before_the_file(
    place, images, capsys, monkeypatch
):
    write(place / "fakescan.toml", "threshold = 1.0\nformat = 'jsonl'\nexclude = ['*.webp']")
    assert main(images) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["verdict"] for line in lines} == {"error", "real"}
    assert len(lines) == 3
    monkeypatch.setenv("FAKESCAN_FORMAT", "csv")
    monkeypatch.setenv("FAKESCAN_THRESHOLD", "0.0")
    assert main(images) == 0
    assert verdicts(capsys) == ["fake", "fake"]
    assert main([*images, "--threshold", "0.5"]) == 0
    assert verdicts(capsys) == ["real", "fake"]
    assert main([*images, "--no-config"]) == 0
    assert verdicts(capsys) == ["real", "uncertain", "fake"]
    other = write(place / "other.toml", "exclude = ['*']")
    assert main([*images, "--config", str(other)]) == 0
    assert verdicts(capsys) == []


def test_what_a_file_switches_on_an_option_switches_off(place, images, capsys):
    write(place / "fakescan.toml", "hash = true\nformat = 'jsonl'")
    assert main(images) == 0
    assert "sha256" in capsys.readouterr().out
    assert main([*images, "--no-hash"]) == 0
    assert "sha256" not in capsys.readouterr().out


def test_show_says_what_applies_and_where_from(place, capsys, monkeypatch):
    file = write(place.parent / "fakescan.toml", "exclude = ['a\"b']\nhidden = false")
    monkeypatch.setenv("FAKESCAN_THRESHOLD", "0.25")
    monkeypatch.setenv("FAKESCAN_THRESHHOLD", "1")
    assert main(["config", "show"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text) == {"threshold": 0.25, "exclude": ['a"b'], "hidden": False}
    assert re.search(r"^threshold = 0.25 +# FAKESCAN_THRESHOLD$", text, re.MULTILINE)
    assert re.search(rf"^exclude = .* +# {re.escape(str(file))}$", text, re.MULTILINE)
    assert re.search(r"^# timeout = 60.0 +# default$", text, re.MULTILINE)
    assert "# FAKESCAN_THRESHHOLD is set, and is no setting" in text
    assert main(["config", "show", "--config", "none.toml"]) == 2


@hypothesis_settings(max_examples=30, deadline=None)
@examples(
    st.fixed_dictionaries(
        {},
        optional={
            "threshold": st.floats(0, 1),
            "hidden": st.booleans(),
            "workers": st.integers(1, 64),
            "exclude": st.lists(st.text(min_size=1).filter(str.isprintable), max_size=3),
        },
    )
)
def test_what_show_prints_is_a_file_that_gives_the_same(tmp_path_factory, wanted):
    file = tmp_path_factory.mktemp("show") / "fakescan.toml"
    lines = [f"{name} = {literal(value)}\n" for name, value in wanted.items()]
    file.write_text("".join(lines), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["config", "show", "--config", str(file)]) == 0
    assert values(file) == wanted
    again = write(file, printed.getvalue())
    assert values(Path(again)) == wanted
