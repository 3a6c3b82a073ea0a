import json
import re

import pytest

from fakescan.cli import main

KNOWN = re.compile(r"cache: (\d+) of (\d+) scores were known")


@pytest.fixture
def run(tiny, capsys):
    """Run a command: exit code, standard output, standard error."""

    def run(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def scan(run, tiny, photos):
    return lambda *arguments: run("scan", photos, "-j", "1", "--model", tiny, *arguments)


def test_a_scan_says_how_many_scores_were_known(scan):
    first, second = scan(), scan()
    assert first[1] == second[1]
    assert KNOWN.search(first[2]) is None
    assert KNOWN.search(second[2]).groups() == ("3", "3")


def test_no_cache_neither_reads_nor_writes(scan, cache_folder, tmp_path):
    scan("--no-cache")
    assert list(cache_folder.iterdir()) == []
    scan()
    report = tmp_path / "r.json"
    assert KNOWN.search(scan("--no-cache", "-o", report)[2]) is None
    assert json.loads(report.read_text())["settings"]["cache"] is False


def test_info_and_clear_tell_what_is_kept(scan, run, cache_folder):
    assert run("cache", "info")[1] == f"{cache_folder}/scores.sqlite: 0.0 MB, 0 files\n"
    scan()
    code, out, _ = run("cache", "info")
    assert code == 0
    assert re.search(r"^tiny@[0-9a-f]{12}: 3 scores$", out, re.MULTILINE)
    assert run("cache", "clear")[0] == 0
    assert list(cache_folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"no database" * 99, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_one_warning_and_no_obstacle(scan, run, cache_folder, content):
    plain = scan("--no-cache")
    (cache_folder / "scores.sqlite").write_bytes(content)
    code, out, err = scan()
    assert (code, out) == plain[:2]
    (warning,) = [line for line in err.splitlines() if line.startswith("warning:")]
    assert "fakescan cache clear" in warning
    assert (cache_folder / "scores.sqlite").read_bytes() == content
    assert run("cache", "info")[0] == 2
    assert run("cache", "clear")[0] == 0
    assert "warning" not in scan()[2]


def test_a_cache_that_cannot_be_written_is_one_warning(scan, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(tmp_path / "file"))
    code, _, err = scan()
    assert code == 0
    assert err.count("warning:") == 1
    assert "the cache cannot be made" in err
