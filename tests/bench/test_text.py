import json
from dataclasses import replace

import pytest

from fakescan.bench.laps import Images, Round
from fakescan.bench.run import Bench
from fakescan.bench.text import json_text, markdown_text, table_text

LAP = Round(
    detector_s=0.1,
    detector_cpu_s=0.19,
    scan_s=0.125,
    inside_s=0.11,
    own_s=0.005,
    decoding_s=0.002,
    decoding_cpu_s=0.003,
    start_s=0.5,
)
BENCH = Bench(
    version="1.2.3",
    runtime="ONNX Runtime 1.0",
    machine="Some processor, 2 cores, Linux x86_64, Python 3.12.0",
    detector="tiny@0123456789ab",
    precision="int8",
    device="cpu",
    batch=1,
    workers=2,
    images=Images(count=32, width=500, height=375, kilobytes=98.8),
    are_made=True,
    left_out=0,
    load_s=1.25,
    rounds=(replace(LAP, scan_s=0.2), LAP, replace(LAP, scan_s=0.1)),
    peak_mb=512.3,
    decoder_mb=40.2,
)
TABLE = """\
fakescan 1.2.3, tiny@0123456789ab, int8, ONNX Runtime 1.0 on cpu
Some processor, 2 cores, Linux x86_64, Python 3.12.0
32 made JPEG files of 500x375 and 99 kB; batches of 1, decoders: 2; the median of 3 rounds

                   images/s
detector alone        10.00  crops that are ready, to logits
scan                   8.00  files to findings, without the cache: 80.0% of the detector alone \
(50.0% to 100.0%)
decoding alone          500  files to crops

one image of the scan                       ms
in the detector, as long as alone       100.00  80.0%
in the detector, longer than alone       10.00   8.0%
waiting for a crop                       10.00   8.0%
all else of the scanning process          5.00   4.0%
together                                125.00 100.0%

processor time  190.0 ms in the detector, 3.0 ms to decode, for one image
start           1.25 s to load the detector, 0.50 s to the first finding
peak memory     512 MB, 40 MB in each decoder
"""


def test_a_round_tells_where_the_time_of_the_scan_went():
    assert LAP.ratio == pytest.approx(0.8)
    assert LAP.slowed_s == pytest.approx(0.01)
    assert LAP.waiting_s == pytest.approx(0.01)


def test_the_median_round_is_shown_in_a_table():
    assert BENCH.typical is LAP
    assert table_text(BENCH) == TABLE


def test_what_is_not_known_is_left_out():
    mine = replace(BENCH, are_made=False, left_out=3, rounds=(LAP,), peak_mb=None, decoder_mb=None)
    text = table_text(mine)
    assert "32 files, median 500x375 and 99 kB, 3 left out as damaged;" in text
    assert "the median of 1 round\n" in text
    assert "peak memory" not in text
    assert "of the detector alone\n" in text


def test_markdown_says_the_same():
    text = markdown_text(BENCH)
    assert text.startswith("- fakescan 1.2.3, tiny@0123456789ab")
    assert "\n| detector alone | 10.00 | crops that are ready, to logits |\n" in text
    assert "\n| waiting for a crop | 10.00 | 8.0% |\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}


def test_json_has_every_round_and_these_keys():
    values = json.loads(json_text(BENCH))
    assert list(values) == [
        "fakescan_bench_version", "version", "runtime", "machine", "detector", "precision",
        "device", "batch", "workers", "images", "are_made", "left_out", "load_s", "rounds",
        "peak_mb", "decoder_mb", "ratio",
    ]  # fmt: skip
    assert values["ratio"] == 0.8
    assert [r["ratio"] for r in values["rounds"]] == [0.5, 0.8, 1.0]
    assert values["rounds"][1]["detector_cpu_s"] == 0.19
    assert values["images"] == {"count": 32, "width": 500, "height": 375, "kilobytes": 98.8}
