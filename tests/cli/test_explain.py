import json
import re
import sys
from urllib.parse import unquote

import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.explain.figure import WIDTH_PX

BLOCK = re.compile(r'<script type="application/json" id="findings">(.*?)</script>', re.DOTALL)


@pytest.fixture
def explain(tiny, capsys, tmp_path):
    """Run `fakescan scan --explain`: exit code, rows of the page, standard error."""

    def run(*arguments, output="out/r.html"):
        report = tmp_path / output
        report.parent.mkdir(exist_ok=True)
        command = ["scan", "--no-config", "-j", "1", "--model", str(tiny), "--explain"]
        code = main([*command, "-o", str(report), *map(str, arguments)])
        err = capsys.readouterr().err
        rows = json.loads(BLOCK.search(report.read_text())[1]) if report.exists() else []
        return code, rows, err

    return run


def figures(folder):
    return sorted(p.name for p in folder.glob("*.png"))


def test_every_scored_row_of_the_page_has_a_figure(explain, photos, tmp_path):
    code, rows, _ = explain(photos)
    assert code == 0
    assert [("figure" in row) for row in rows] == [False, True, True, True]
    links = [row["figure"] for row in rows if "figure" in row]
    assert len(set(links)) == 3
    for link in links:
        with Image.open(tmp_path / "out" / unquote(link)) as image:
            assert image.width == WIDTH_PX
    assert len(figures(tmp_path / "out" / "r.html.explain")) == 3


def test_of_what_is_left_out_there_is_no_figure(explain, photos, tmp_path):
    explain(photos, "--only-flagged")
    names = [name.split("-")[0] for name in figures(tmp_path / "out" / "r.html.explain")]
    assert names == ["bright", "grey"]


def test_other_reports_know_nothing_of_figures(explain, photos, tmp_path):
    explain(photos, "-o", tmp_path / "out" / "r.jsonl")
    text = (tmp_path / "out" / "r.jsonl").read_text()
    assert "figure" not in text
    assert "explain" not in text


@pytest.mark.parametrize(
    "outputs", [[], ["r.csv"], ["a.html", "b.html"]], ids=["none", "csv", "two"]
)
def test_without_one_page_it_is_one_clear_line(outputs, tiny, photos, capsys, tmp_path):
    files = [argument for name in outputs for argument in ("-o", str(tmp_path / name))]
    assert main(["scan", str(photos), "--model", str(tiny), "--explain", *files]) == 2
    err = capsys.readouterr().err
    assert err == (
        "fakescan: --explain: needs one --output FILE.html on this machine, "
        "beside which its figures go\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


def test_a_later_scan_leaves_the_figures_out(explain, photos):
    _, first, _ = explain(photos, output="photos/r.html")
    code, again, err = explain(photos, output="photos/r.html")
    assert code == 0
    assert [row["path"] for row in again] == [row["path"] for row in first]
    assert "3 ignored by .fakescanignore" in err


def test_a_folder_that_cannot_be_written_costs_the_figures_only(explain, photos, tmp_path):
    (tmp_path / "out" / "r.html.explain" / ".fakescanignore").mkdir(parents=True)
    code, rows, err = explain(photos)
    assert code == 0
    assert len(rows) == 4
    assert all("figure" not in row for row in rows)
    reason = "Permission denied" if sys.platform == "win32" else "Is a directory"
    assert f"warning: {tmp_path}/out/r.html.explain: no more figures ({reason})" in err


def test_a_file_in_the_folders_place_is_refused_before_anything_is_scanned(
    explain, photos, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "r.html.explain").write_text("mine")
    code, rows, err = explain(photos)
    assert (code, rows) == (2, [])
    assert "r.html.explain: not a folder; --explain puts its figures there" in err


def test_images_in_archives_are_explained(explain, photos, tmp_path):
    import zipfile

    with zipfile.ZipFile(photos / "a.zip", "w") as archive:
        archive.write(photos / "grey.png", "x/grey.png")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(photos / "sub" / "bright.webp", "x/grey.png")
    _, rows, _ = explain(photos / "a.zip", "--archives")
    assert [row["path"].endswith("a.zip!/x/grey.png") for row in rows] == [True, True]
    assert len({row["figure"] for row in rows}) == 2
