"""One report that the tests of all formats write."""

import os

from hypothesis import strategies as st

from fakescan.records import Finding, Summary, Verdict
from fakescan.report import FORMATS, Report

FINDINGS = (
    Finding(
        path="photos/a.jpg", verdict=Verdict.REAL, score=0.0123456789, logit=-4.3820266,
        width=640, height=480, format="JPEG", detector="tiny@0123456789ab",
        thumbnail=b"RIFF",
    ),
    Finding(
        path="photos/b, \"quoted\".png", verdict=Verdict.UNCERTAIN, score=0.5, logit=0.0,
        width=1, height=1, format="PNG", detector="tiny@0123456789ab",
    ),
    Finding(
        path="=cmd()\n\x1b[31m[bold]é", verdict=Verdict.FAKE, score=1.0, logit=17.25,
        width=30000, height=2, format="AVIF", detector="tiny@0123456789ab",
        sha256="ab" * 32, provenance="generated",
        provenance_detail="xmp: trainedAlgorithmicMedia; prompt: =<b>a \"cat\"</b>",
    ),
    Finding(
        path="caf\udce9.gif", verdict=Verdict.ERROR, error="damaged: image file is truncated",
        detector="tiny@0123456789ab",
    ),
)  # fmt: skip


def report(findings=FINDINGS, *, is_complete=True, **changes):
    summary = Summary(elapsed_s=1.25)
    summary.skipped["not an image"] = 3

    def run():
        yield from summary.watch(findings)
        summary.is_complete = is_complete

    values = {
        "findings": run(),
        "summary": summary,
        "detector": {"name": "tiny", "sha256": "0" * 64, "precision": "fp32",
                     "t_fake": 0.8, "t_real": 0.3},
        "settings": {"threshold": None, "timeout_s": 60.0, "device": "cpu"},
        "version": "1.2.3",
        "root": "/home/me",
    }  # fmt: skip
    return Report(**(values | changes))


def written(name, findings=FINDINGS, **state):
    return "".join(FORMATS[name].writer(report(findings, **state)))


paths = st.binary(min_size=1).map(os.fsdecode) | st.text(st.characters(exclude_categories=["Cs"]))
"""Any path: bytes of any kind, and any text."""
