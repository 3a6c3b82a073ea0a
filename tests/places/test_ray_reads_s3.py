"""Objects of a store on their way through Ray."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_ray_gives_the_rows_of_a_local_scan_of_a_bucket_and_then_reads_no_image_again(
    filled, tiny, tmp_path
):
    def scan(engine):
        output = tmp_path / f"{engine}.jsonl"
        command = [
            *(sys.executable, "-m", "fakescan", "scan", "--model", str(tiny), "-j", "2"),
            *(f"s3://{filled.name}/photos", "-o", str(output), "--engine", engine, "--hash"),
        ]
        environment = os.environ | {"FAKESCAN_CACHE_DIR": str(tmp_path / engine)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return sorted(output.read_text().splitlines()), done.stderr

    local, said = scan("local")
    assert "skipped: 1 not an image" in said
    rows, said = scan("ray")
    assert rows == local
    assert len(rows) == 4
    assert "skipped: 1 not an image" in said
    filled.faults.clear()
    again, said = scan("ray")
    assert again == local
    assert "cache: 3 of 3 scores were known" in said
    assert [filled.faults.count(name) for name in ("dark.png", "grey", "bright.jpg")] == [0, 0, 0]
