"""Reports in a bucket, and what is not done there."""

import json
from pathlib import Path

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
