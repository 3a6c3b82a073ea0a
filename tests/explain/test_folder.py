import os
import re
import sys
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.errors import ConfigError
from fakescan.explain.folder import FigureFolder
from fakescan.records import Finding, Verdict
from reports import paths

FINDING = Finding(path="photos/a b.jpg", verdict=Verdict.FAKE, figure=b"PNG")


def stored(report, *findings):
    warnings = []
    return list(FigureFolder(report).stored(findings, warnings)), warnings


def test_figures_lie_in_a_folder_beside_the_report(tmp_path):
    (finding,), warnings = stored(tmp_path / "my report.html", FINDING)
    assert warnings == []
    assert finding.figure is None  # nothing is held that was written
    assert re.fullmatch(r"my%20report\.html\.explain/a-b-[0-9a-f]{16}\.png", finding.figure_link)
    assert (tmp_path / unquote(finding.figure_link)).read_bytes() == b"PNG"


def test_there_is_no_folder_without_figures(tmp_path):
    (finding,), _ = stored(tmp_path / "r.html", replace(FINDING, figure=None))
    assert finding.figure_link is None
    assert list(tmp_path.iterdir()) == []


def test_a_second_report_writes_the_same_files_again(tmp_path):
    (first,), _ = stored(tmp_path / "r.html", FINDING)
    (tmp_path / "r.html.explain" / "mine.txt").write_text("kept")
    (second,), _ = stored(tmp_path / "r.html", replace(FINDING, figure=b"new", score=0.5))
    assert first.figure_link == second.figure_link
    assert (tmp_path / second.figure_link).read_bytes() == b"new"
    assert (tmp_path / "r.html.explain" / "mine.txt").exists()


def test_members_that_share_a_path_do_not_share_a_file(tmp_path):
    twins = [replace(FINDING, path="a.zip!/b.png", thumbnail=t, figure=t) for t in (b"1", b"2")]
    findings, _ = stored(tmp_path / "r.html", *twins)
    assert [(tmp_path / f.figure_link).read_bytes() for f in findings] == [b"1", b"2"]


@given(st.lists(paths, min_size=1, unique_by=os.fsencode))
def test_any_path_has_a_file_of_its_own_inside_the_folder(tmp_path_factory, names):
    report = tmp_path_factory.mktemp("report") / "r.html"
    findings = [replace(FINDING, path=n, figure=os.fsencode(n)) for n in names]
    found, warnings = stored(report, *findings)
    assert warnings == []
    for name, finding in zip(names, found, strict=True):
        folder, file = finding.figure_link.split("/")
        assert re.fullmatch(r"[A-Za-z0-9_-]+\.png", file)
        assert (report.parent / folder / file).read_bytes() == os.fsencode(name)


def test_something_else_of_that_name_is_one_clear_line(tmp_path):
    (tmp_path / "r.html.explain").write_text("mine")
    with pytest.raises(ConfigError, match=r"r\.html\.explain: not a folder; --explain puts"):
        FigureFolder(tmp_path / "r.html")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_costs_the_figures_and_not_the_findings(tmp_path):
    import resource
    import signal

    findings = [replace(FINDING, path=f"{i}.png", figure=bytes(1000 * i)) for i in (1, 9, 2)]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    try:
        found, warnings = stored(tmp_path / "r.html", *findings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert [f.path for f in found] == ["1.png", "9.png", "2.png"]
    assert [bool(f.figure_link) for f in found] == [True, False, False]
    assert [f.figure for f in found] == [None] * 3
    assert warnings == [f"{tmp_path}/r.html.explain: no more figures (File too large)"]
    assert len(list((tmp_path / "r.html.explain").glob("*.png"))) == 1  # no half of one
