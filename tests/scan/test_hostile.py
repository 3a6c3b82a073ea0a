"""Images that were made, or happened, to break decoders: each ends as a row with a reason."""

from collections import Counter
from pathlib import Path

import pytest

from fakescan.image import FORMATS
from fakescan.records import Summary, Verdict
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.session import OnnxSession

FOLDER = Path(__file__).parents[1] / "data" / "hostile"
FILES = sorted(p for p in FOLDER.iterdir() if p.name not in ("LICENSE", ".gitattributes"))
NEVER_OPENED = (".blp", ".dds", ".eps", ".fli", ".gpl", ".ico", ".icns", ".j2k", ".pcx", ".psd")


@pytest.fixture(scope="module")
def findings(tiny):
    settings = ScanSettings(timeout_s=20, workers=2)
    summary = Summary()
    found = list(scan([str(p) for p in FILES], OnnxSession(tiny), settings, summary))
    assert summary.is_complete
    return {Path(f.path).name: f for f in found}


def test_each_file_that_is_named_is_a_row(findings):
    assert list(findings) == [p.name for p in FILES]
    assert sum(f.verdict is not Verdict.ERROR for f in findings.values()) > 70


def test_each_error_has_a_reason_in_one_line_of_words(findings):
    for finding in findings.values():
        if finding.verdict is Verdict.ERROR:
            assert finding.error
            assert finding.error.isprintable()
            assert len(finding.error) < 250
            assert "Error" not in finding.error
            assert "decoder error" not in finding.error
            assert "crashed" not in finding.error
            assert "--timeout" not in finding.error


def test_what_the_fuzzer_found_is_a_row_and_no_bug(findings):
    found = [f for name, f in findings.items() if name.startswith("fuzz-")]
    reasons = Counter(f.error.partition(":")[0].partition(";")[0] for f in found)
    assert reasons == {"damaged": 4, "11126.01 megapixels": 1}


@pytest.mark.parametrize("suffix", NEVER_OPENED)
def test_formats_off_the_list_are_never_opened(findings, suffix):
    chosen = [f for name, f in findings.items() if name.endswith(suffix)]
    reason = f"not an image that fakescan reads ({', '.join(FORMATS)})"
    assert [f.error for f in chosen] == [reason] * len(chosen)


def test_the_licence_lies_beside_the_files_and_all_together_are_small():
    assert "Pillow" in (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in FILES) < 1.5e6
