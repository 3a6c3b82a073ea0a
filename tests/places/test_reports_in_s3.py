"""Reports in a bucket, and what is not done there."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fakescan.cli import main


def test_reports_are_written_to_the_store_when_they_are_whole(filled, tiny, capfd):
    places = [f"s3://{filled.name}/reports/r.{suffix}" for suffix in ("json", "csv")]
    outputs = [word for place in places for word in ("--output", place)]
    arguments = ["scan", "-q", "--model", str(tiny), f"s3://{filled.name}/photos", *outputs]
    assert main(arguments) == 0
    written = json.loads(filled.get("reports/r.json"))
    assert written["status"] == "complete"
    assert [f["verdict"] for f in written["findings"]] == ["error", "real", "uncertain", "fake"]
    assert len(filled.get("reports/r.csv").splitlines()) == 5
    assert "AKIDNOTSHOWN" not in json.dumps(written)
    assert capfd.readouterr() == ("", "")


def test_a_report_that_the_store_refuses_is_kept_here(filled, tiny, capfd):
    filled.faults.plan("reports", "forbidden", method="PUT")
    place = f"s3://{filled.name}/reports/r.csv"
    arguments = ["scan", "-q", "--model", str(tiny), f"s3://{filled.name}/photos", "-o", place]
    assert main(arguments) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"fakescan: {place}: cannot be written (no permission to write there)")
    kept = Path(err.split("the report is in ")[1].strip())
    assert len(kept.read_text().splitlines()) == 5
    kept.unlink()
    kept.parent.rmdir()


def test_reports_need_a_bucket_that_exists_before_anything_is_scanned(filled, tiny, capfd):
    place = "s3://no-such-bucket/r.csv"
    arguments = ["scan", "--model", str(tiny), f"s3://{filled.name}/photos", "-o", place]
    assert main(arguments) == 2
    assert capfd.readouterr().err == f"fakescan: {place}: no such bucket\n"


def test_flagged_objects_of_a_store_are_not_copied_and_that_is_said(filled, tiny, tmp_path, capfd):
    place = f"s3://{filled.name}/photos/sub/"
    arguments = ["scan", "--model", str(tiny), place, "--copy-flagged", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "bright.jpg: it is in a store" in capfd.readouterr().err


@pytest.fixture
def shards(filled, tiny):
    """Reports of the two shards of a scan, of the whole of it, and something else beside them."""
    for number, suffix in ((1, "json"), (2, "parquet")):
        place = f"s3://{filled.name}/reports/shard-{number}.{suffix}"
        arguments = [f"s3://{filled.name}/photos", "--shard", f"{number}/2", "-o", place]
        code = main(["scan", "-q", "--model", str(tiny), *arguments])
        assert code in {0, 3}  # 3: all that falls to the shard may be the broken image
    for suffix in ("csv", "jsonl"):
        place = f"s3://{filled.name}/whole/r.{suffix}"
        assert (
            main(["scan", "-q", "--model", str(tiny), f"s3://{filled.name}/photos", "-o", place])
            == 0
        )
    filled.put("reports/readme.txt", b"no report")
    return f"s3://{filled.name}"


@pytest.mark.parametrize("what", ["reports", "reports/shard-*", "reports/shard-{1.json,2.parquet}"])
def test_shards_in_a_store_are_joined_into_a_report_there(filled, shards, capfd, what):
    output = f"{shards}/merged.json"
    assert main(["report", "merge", f"{shards}/{what}", "-o", output]) == 0
    assert capfd.readouterr() == ("4 images: 1 real, 1 uncertain, 1 fake, 1 error\n", "")
    found = json.loads(filled.get("merged.json"))["findings"]
    assert len({finding["path"] for finding in found}) == 4


def test_reports_in_a_store_are_summed_up_converted_and_compared(filled, shards, tmp_path, capfd):
    whole = [f"{shards}/whole/r.csv", f"{shards}/whole/r.jsonl"]
    assert main(["report", "summarise", "--json", f"{shards}/reports", *whole]) == 0
    counts = {"real": 3, "uncertain": 3, "fake": 3, "error": 3}
    said = json.loads(capfd.readouterr().out)
    assert (said["reports"], said["counts"]) == (4, counts)
    page = tmp_path / "worst.html"
    assert main(["report", "convert", f"{shards}/reports/", "--worst", "1", "-o", str(page)]) == 0
    assert "bright.jpg" in page.read_text()
    assert "dark.png" not in page.read_text()
    capfd.readouterr()
    assert main(["report", "diff", whole[0], f"{shards}/reports/shard-2.parquet"]) == 0
    first, *lines = capfd.readouterr().out.splitlines()
    gone = 4 - len(pq.read_table(io.BytesIO(filled.get("reports/shard-2.parquet"))))
    assert first == f"0 new, {gone} gone, 0 other verdict, 0 other score"
    assert [("-> -" in line, f"{shards}/photos/" in line) for line in lines] == [
        (True, True)
    ] * gone


def test_a_report_that_the_store_cuts_short_is_asked_for_again(filled, shards, capfd):
    filled.faults.plan("shard-2", "cut", times=2, method="GET")
    assert main(["report", "merge", f"{shards}/reports", "-o", f"{shards}/m.csv"]) == 0
    assert len(filled.get("m.csv").splitlines()) == 5


@pytest.mark.parametrize(
    ("what", "fault", "reason"),
    [
        ("none.json", None, "none.json: the object is gone"),
        ("photos", None, "photos: no reports there"),
        ("reports/x-*", None, "reports/x-*: no reports there"),
        ("reports/readme.txt", None, "reports/readme.txt: not a report that can be read again"),
        ("reports/shard-1.json", "expired", "reports/shard-1.json: the credentials have expired"),
        ("reports", "forbidden", "reports/shard-1.json: no permission to read it"),
    ],
)
def test_reports_that_cannot_be_read_are_one_line(filled, shards, capfd, what, fault, reason):
    if fault:
        filled.faults.plan("shard-1", fault, method="GET")
    assert main(["report", "summarise", f"{shards}/{what}"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"fakescan: {shards}/{reason}")
