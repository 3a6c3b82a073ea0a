"""The published tables hold what their page says of them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fakescan.errors import ConfigError
from fakescan.evaluate import paper
from fakescan.evaluate.paper import read_rows, read_table, row_of_backbone

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/reference/paper-tables"
MISPRINTED = ("table2_univfd_acc", "FreqSpec")
GAN = ("ProGAN", "CycleGAN", "BigGAN", "StyleGAN", "GauGAN", "StarGAN")
LDM = ("LDM_200", "LDM_200_cfg", "LDM_100")
DIFFUSION = ("Guided", *LDM, "GLIDE_100_27", "GLIDE_50_27", "GLIDE_100_10")
PRINTED = [
    (name, method)
    for name in ("table1_univfd_ap", "table2_univfd_acc", "table3_genimage_acc")
    for method in read_table(name).figures
]


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("table1_univfd_ap", 9, 19), ("table2_univfd_acc", 9, 19), ("table3_genimage_acc", 10, 9)],
)
def test_every_row_has_a_figure_for_every_generator(name, rows, columns):
    table = read_table(name)
    assert len(table.figures) == rows
    assert len(table.generators) == columns
    assert all(0 < figure <= 1 for row in table.figures.values() for figure in row)


@pytest.mark.parametrize(("name", "method"), PRINTED)
def test_the_printed_mean_is_that_of_the_row_but_for_one_misprint(name, method):
    table = read_table(name)
    mean = 100 * np.mean(table.figures[method])
    printed = 100 * table.means[method]
    if (name, method) == MISPRINTED:
        assert printed == pytest.approx(mean - 0.05, abs=0.01)
    else:
        assert printed == pytest.approx(mean, abs=0.0101)


@pytest.mark.parametrize(
    ("name", "key", "row"),
    [
        ("table4_adapted_blocks", {"backbone": "ViT-B/32", "adapted_blocks": "last3"}, "ViT-B/32"),
        ("table4_adapted_blocks", {"backbone": "ViT-L/14", "adapted_blocks": "last3"}, "ViT-L/14"),
        ("table5_adapter_design", {"variant": "e"}, "ViT-B/32"),
        ("table6_ranks", {"shared_rank": "8", "separate_ranks": "4;8;16"}, "ViT-B/32"),
    ],
)
def test_means_of_families_are_those_of_table_1(name, key, row):
    (printed,) = [r for r in read_rows(name) if key.items() <= r.items()]
    figures = read_table("table1_univfd_ap").row(f"MoLE_{row}")
    expected = {
        "gan_mAP": [figures[g] for g in GAN],
        "diffusion_mAP": [figures[g] for g in DIFFUSION],
        "autoregressive_mAP": [figures["DALLE"]],
        "average_mAP": list(figures.values()),
    }
    for column, values in expected.items():
        assert float(printed[column]) == pytest.approx(100 * np.mean(values), abs=0.01), column


def test_every_file_is_described_on_the_page():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in FOLDER.glob("*.csv"))
    assert len(files) == 8
    assert [name for name in files if f"[{name}]({name})" not in page] == []


@pytest.mark.parametrize(
    ("backbone", "row"),
    [
        ("ViT-B-16-quickgelu", "MoLE_ViT-B/16"),
        ("ViT-B-32", "MoLE_ViT-B/32"),
        ("ViT-L-14-336", "MoLE_ViT-L/14"),
    ],
)
def test_a_backbone_has_its_row(backbone, row):
    assert row_of_backbone(backbone) == row
    for name in ("table1_univfd_ap", "table2_univfd_acc", "table3_genimage_acc"):
        assert row in read_table(name).figures


def test_rows_that_are_not_there_are_named():
    with pytest.raises(ConfigError, match="no detector on the backbone convit"):
        row_of_backbone("convit")
    with pytest.raises(ConfigError, match="no such row; known: CNNSpot"):
        read_table("table1_univfd_ap").row("Nobody")


def test_an_installed_package_reads_its_own_copy(tmp_path, monkeypatch):
    inside = tmp_path / "fakescan" / "_paper_tables"
    inside.mkdir(parents=True)
    (inside / "x.csv").write_text("method,A,mean\nm,50,50\n")
    monkeypatch.setattr(paper, "__file__", str(tmp_path / "fakescan/evaluate/paper.py"))
    assert read_table("x").row("m") == {"A": 0.5}


@pytest.mark.slow
def test_the_wheel_carries_the_tables(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    carried = {Path(n).name for n in names if n.startswith("fakescan/_paper_tables/")}
    assert carried >= {path.name for path in FOLDER.glob("*.csv")}
    assert not [n for n in names if n.startswith("docs/")]
