"""Aligned pairs, and the command that makes them."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fakescan.data.autoencoder import load_autoencoder
from fakescan.data.pairs import PairConfig, choose_reals, make_pairs, remake, write_manifest
from fakescan.data.samples import read_samples
from fakescan.errors import ConfigError, DatasetError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = PairConfig(crop_px=32)


@pytest.fixture
def labelled(tmp_path, photo):
    """Two sources of reals, one of fakes, a broken and a tiny real."""
    root = tmp_path / "data"
    for name, size in {
        "cameras/0_real/a.png": (60, 50),
        "cameras/0_real/b.jpg": (40, 90),
        "cameras/0_real/tiny.png": (7, 90),
        "films/0_real/c.png": (20, 25),
        "gen/1_fake/d.png": (60, 50),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photo(*size, seed=size[0]).save(root / name)
    (root / "films/0_real/[red]broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture
def network(autoencoder_folder):
    return load_autoencoder(autoencoder_folder)


def pair_up(labelled, network, out, config=CONFIG):
    rows = list(make_pairs(choose_reals(read_samples(labelled), ()), network, out, config))
    write_manifest(rows, out)
    return rows


def test_a_pair_is_a_crop_of_the_real_and_its_round_trip(labelled, network, tmp_path):
    rows = pair_up(labelled, network, tmp_path / "out")
    assert [(r.sample.key, r.error is None) for r in rows] == [
        ("cameras/0_real/a.png", True),
        ("cameras/0_real/b.jpg", True),
        ("cameras/0_real/tiny.png", False),
        ("films/0_real/[red]broken.png", False),
        ("films/0_real/c.png", True),
    ]
    for row, side in ((rows[0], 32), (rows[1], 32), (rows[4], 16)):
        real, fake = (
            np.asarray(Image.open(tmp_path / "out" / name))
            for name in (f"0_real/{row.name}.png", f"1_fake/{row.name}.round-trip.png")
        )
        assert real.shape == (side, side, 3)
        x = torch.from_numpy(real.copy()).permute(2, 0, 1)[None] / 255
        again = (network(x)[0].permute(1, 2, 0) * 255).round().numpy()
        assert np.array_equal(fake, again)


def test_a_real_gets_a_fake_of_every_kind_that_is_asked_for(labelled, network, tmp_path):
    config = PairConfig(crop_px=32, kinds=("masked", "upsampling", "round-trip"))
    rows = pair_up(labelled, network, tmp_path / "out", config)
    samples = read_samples(tmp_path / "out")
    for name in (row.name for row in rows if row.error is None):
        members = [s for s in samples if s.pair == name]
        assert sorted(s.generator for s in members) == [
            "", "autoencoder masked", "autoencoder round-trip", "autoencoder upsampling",
        ]  # fmt: skip
        pixels = {s.path.read_bytes() for s in members}
        assert len(pixels) == 4


def test_the_manifest_reads_back_with_the_reals_source_and_origin(labelled, network, tmp_path):
    rows = pair_up(labelled, network, tmp_path / "out")
    samples = read_samples(tmp_path / "out")
    assert len(samples) == 6
    origins = {row.name: row.sample for row in rows}
    for sample in samples:
        assert sample.source == origins[sample.pair].source
        assert sample.derived_from == origins[sample.pair].key
        assert sample.path.is_file()
        assert sample.generator == ("autoencoder round-trip" if sample.label else "")


def test_what_exists_is_kept_and_what_is_missing_is_made_again(labelled, network, tmp_path):
    out = tmp_path / "out"
    rows = pair_up(labelled, network, out)
    files = {p: p.read_bytes() for p in out.rglob("*.png")}
    kept, lost = (out / "1_fake" / f"{row.name}.round-trip.png" for row in rows[:2])
    before = kept.stat().st_mtime_ns
    lost.unlink()
    pair_up(labelled, network, out)
    assert kept.stat().st_mtime_ns == before
    assert {p: p.read_bytes() for p in out.rglob("*.png")} == files


def test_pairs_of_two_kinds_are_not_mixed(labelled, network, tmp_path):
    pair_up(labelled, network, tmp_path / "out")
    with pytest.raises(DatasetError, match="other settings"):
        pair_up(labelled, network, tmp_path / "out", PairConfig(crop_px=24))


def test_a_folder_with_other_files_is_left_alone(labelled, network):
    with pytest.raises(DatasetError, match="other files"):
        pair_up(labelled, network, labelled)


def test_a_place_that_cannot_be_written_is_named(labelled, network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        pair_up(labelled, network, tmp_path / "file" / "out")


def test_sources_can_be_left_out(labelled):
    reals = choose_reals(read_samples(labelled), ("cam*",))
    assert {s.source for s in reals} == {"films"}
    with pytest.raises(DatasetError, match="every real image's source is excluded"):
        choose_reals(read_samples(labelled), ("*",))
    with pytest.raises(DatasetError, match="no real images"):
        choose_reals([s for s in read_samples(labelled) if s.label], ())


@pytest.mark.parametrize("kinds", [(), ("masked", "masked")])
def test_kinds_are_named_once_each(kinds):
    with pytest.raises(ConfigError, match="kinds must be named once each"):
        PairConfig(kinds=kinds)


@pytest.mark.parametrize("wrong", [{"crop_px": 30}, {"crop_px": 0}, {"scale_min": 0.0}])
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="pairs: crop_px"):
        PairConfig(**wrong)


def command(*arguments):
    from fakescan.cli import main

    return main(["data", "pairs", *map(str, arguments)])


def test_the_command_makes_pairs_and_lists_what_it_left_out(
    labelled, autoencoder_folder, tmp_path, capsys
):
    options = ("--autoencoder", autoencoder_folder, "--out", tmp_path / "out", "--crop-px", 32)
    assert command(labelled, *options, "--exclude-source", "nothing") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "left out: films/0_real/[red]broken.png: " in captured.err
    assert "3 pairs, 2 images left out" in captured.err
    with (tmp_path / "out" / "manifest.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 6


def test_a_quiet_command_says_nothing(labelled, autoencoder_folder, tmp_path, capsys):
    options = ("--autoencoder", autoencoder_folder, "--out", tmp_path / "out", "--crop-px", 32)
    assert command(labelled, *options, "-q") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"--autoencoder": "none"}, 3, "encoder.safetensors: no such file"),
        ({"--exclude-source": "*"}, 2, "every real image's source is excluded"),
        ({"--split": "train"}, 2, "no sample of split train; known: none"),
        ({"--crop-px": "33"}, 2, "crop_px must be a multiple of 8"),
        ({"--out": "data/out"}, 2, "lies inside"),
        ({"data": "nowhere"}, 2, "nowhere: no such folder or manifest"),
        ({"data": "broken"}, 2, "none of 1 real images could be made into a pair"),
    ],
)
def test_what_is_wrong_is_one_line_on_standard_error(
    labelled, autoencoder_folder, tmp_path, capsys, monkeypatch, change, code, message
):
    (tmp_path / "broken/0_real").mkdir(parents=True)
    (tmp_path / "broken/0_real/a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    data = change.pop("data", "data")
    options = {"--autoencoder": autoencoder_folder, "--out": "out", "--no-progress": None, **change}
    arguments = [part for pair in options.items() for part in pair if part is not None]
    assert command(data, *arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("fakescan: ")
    assert message in last


TAEF2 = ROOT.parent / "shared" / "models" / "taef2"


@pytest.mark.slow
@pytest.mark.skipif(not TAEF2.is_dir(), reason="no autoencoder beside the checkout")
def test_a_real_autoencoder_gives_back_the_sample_photographs():
    network = load_autoencoder(TAEF2)
    for path in sorted((ROOT / "samples" / "real").glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        side = min(256, min(image.size) // 8 * 8)
        real = np.asarray(image.crop((0, 0, side, side)))
        (fake,) = remake(real, network, "0", PairConfig()).values()
        error = (fake.astype(float) - real) ** 2
        psnr = 10 * np.log10(255**2 / error.mean())
        assert psnr > 25, path.name
