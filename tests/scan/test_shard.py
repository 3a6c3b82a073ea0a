"""Shards of a scan: each image in one of them, and a report of all that misses none."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakescan.cli import main
from fakescan.errors import ConfigError
from fakescan.records import Listing, Shard
from fakescan.report.stored import open_report
from fakescan.scan.shard import parse_shard, sharded, takes
from reports import paths

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"


@given(st.sets(paths), st.integers(1, 7))
def test_every_path_is_in_one_shard_and_all_shards_see_one_listing(names, count):
    taken, listings = Counter(), []
    for number in range(1, count + 1):
        listing = Listing()
        taken.update(sharded([(n, n) for n in names], Shard(number=number, count=count), listing))
        listings.append(listing)
    assert taken == Counter(names)
    assert all(listing == listings[0] for listing in listings)
    assert listings[0].count == len(names)


@given(st.lists(paths, min_size=1, unique=True), st.randoms())
def test_a_listing_does_not_depend_on_the_order_and_shows_every_change(names, random):
    def digest(order):
        listing = Listing()
        list(sharded([(n, n) for n in order], Shard(number=1, count=2), listing))
        return listing.digest

    assert digest(sorted(names)) == digest(random.sample(names, len(names)))
    assert digest(names) != digest(names[1:])


def test_shards_are_stable_over_versions_and_about_equal():
    assert [takes(Shard(number=1, count=2), f"{i}.png") for i in range(8)] == [
        *(True, True, False, False, False, False, False, True),
    ]
    sizes = Counter(
        n for i in range(8000) for n in range(1, 9) if takes(Shard(number=n, count=8), str(i))
    )
    assert all(900 < size < 1100 for size in sizes.values())


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="it is I/N, such as 3/8"):
        parse_shard(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder whose path is the same in every run, since shards depend on it."""
    monkeypatch.chdir(tmp_path)
    folder = Path("photos")
    folder.mkdir()
    for i in range(20):
        Image.new("L", (20, 20), 12 * i).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no image")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(folder / "0.png", "inside.png")
    return folder


def scan(tiny, folder, output, *options):
    return main(["scan", "-q", "--model", str(tiny), str(folder), "-o", str(output), *options])


def shards(tiny, folder, tmp_path, count, suffix="json", *options):
    places = [tmp_path / f"shard-{i}.{suffix}" for i in range(1, count + 1)]
    for i, place in enumerate(places, 1):
        assert scan(tiny, folder, place, "--shard", f"{i}/{count}", *options) == 0
    return places


def merge(places, output):
    return main(["report", "merge", *map(str, places), "-o", str(output)])


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_merged_shards_are_the_report_of_the_whole(tiny, folder, tmp_path, suffix, capsys):
    assert scan(tiny, folder, tmp_path / "whole.json", "--archives") == 0
    places = shards(tiny, folder, tmp_path, 3, suffix, "--archives")
    assert merge(reversed(places), tmp_path / f"merged.{suffix}") == 0
    whole, merged = open_report(tmp_path / "whole.json"), open_report(tmp_path / f"merged.{suffix}")

    def rows(report):
        return sorted((f.path, f.verdict, f.score) for f in report.findings())

    assert rows(merged) == rows(whole)
    assert len(rows(merged)) == 21
    for key in ("counts", "skipped", "status", "detector"):
        assert merged.said[key] == whole.said[key]
    assert capsys.readouterr().err == ""


def test_shards_that_do_not_belong_together_are_refused_in_one_line(tiny, folder, tmp_path, capsys):
    one, two, three = shards(tiny, folder, tmp_path, 3)
    jsonschema.validate(json.loads(one.read_text()), json.loads(SCHEMA.read_text()))
    out = tmp_path / "merged.json"

    def refused(*places):
        assert merge(places, out) == 2
        assert not out.exists()
        return capsys.readouterr().err.removeprefix("fakescan: ").strip()

    assert refused(one, three) == "of 3 shards are missing: 2"
    assert refused(one, two, three, two) == f"{two} and {two}: both are shard 2/3"
    document = json.loads(two.read_text())
    for change, reason in (
        ({"status": "partial"}, f"{two}: not complete; run its shard again, it goes on"),
        ({"detector": document["detector"] | {"sha256": "0" * 64}}, "of different detectors"),
        ({"detector": document["detector"] | {"t_fake": 0.9}}, "t_fake: 0.8 and 0.9"),
        ({"settings": document["settings"] | {"threshold": 0.5}}, "other settings (threshold"),
        ({"listing": document["listing"] | {"count": 9}}, "of different listings (20 and 9"),
        ({"listing": document["listing"] | {"hash": "0" * 32}}, "of different listings"),
        ({"findings": document["findings"][1:]}, "rows, it says"),
        ({"findings": json.loads(one.read_text())["findings"]}, "is not of shard 2/3"),
    ):
        two.write_text(json.dumps(document | change))
        assert reason in refused(one, two, three)


def test_an_image_that_appears_between_shards_is_noticed(tiny, folder, tmp_path, capsys):
    one, two = shards(tiny, folder, tmp_path, 2)
    Image.new("L", (20, 20)).save(folder / "late.png")
    assert scan(tiny, folder, two, "--shard", "2/2") == 0
    assert merge([one, two], tmp_path / "merged.json") == 2
    assert "of different listings (20 and 21 images)" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--shard", "1/1")])
def test_reports_that_are_no_shards_are_refused(tiny, folder, tmp_path, options, capsys):
    place = tmp_path / ("r.csv" if options else "r.json")
    assert scan(tiny, folder, place, *options) == 0
    assert merge([place], tmp_path / "merged.json") == 2
    err = capsys.readouterr().err
    assert ("do not say of which shard" if options else "the scan had no --shard") in err
