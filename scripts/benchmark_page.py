#!/usr/bin/env python3
"""Time how long Chromium takes to open an HTML report of many findings; prints Markdown.

    python scripts/benchmark_page.py [--findings 5000] [--runs 5]

Each finding has a picture of its own, as a scan makes them. A run is a new tab in headless
Chromium: until the page has loaded, and until its first rows are drawn. Needs what
`scripts/ci-packages` names.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from fakescan import machine
from fakescan.bench.photos import make_photos
from fakescan.records import Band, Finding, Summary
from fakescan.report import Report
from fakescan.report.page import html_chunks
from fakescan.scan.crop import thumbnail

BAND = Band(t_fake=0.8, t_real=0.3)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--window-size=1280,900")  # fmt: skip
PICTURES = 40
"""Different ones; every finding has its own copy in the page."""
DRAWN = (
    "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame("
    "() => done(document.querySelectorAll('tbody tr').length)))"
)
LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"


def main() -> None:
    """Parse options, write the page, open it several times, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--findings", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as chromium:
        page = write_page(Path(folder), options.findings)
        times = [open_page(chromium, page) for _ in range(options.runs)]
        megabytes = page.stat().st_size / 1e6
        version = chromium.capabilities["browserVersion"]
    loaded, drawn = (median(column) for column in zip(*times, strict=True))
    print(f"Chromium {version}, {machine.description()}\n")
    print(f"| findings | page | loaded, median of {options.runs} | first rows drawn | slowest |")
    print("|---:|---:|---:|---:|---:|")
    slowest = max(t for _, t in times)
    print(
        f"| {options.findings:,} | {megabytes:.1f} MB | {loaded:.2f} s | {drawn:.2f} s | "
        f"{slowest:.2f} s |"
    )


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """A headless Chromium."""
    from selenium import webdriver

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        sys.exit("chromium and chromedriver are needed: see scripts/ci-packages")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chromium
    finally:
        chromium.quit()


def write_page(folder: Path, count: int) -> Path:
    """A report of so many findings."""
    photos = make_photos(folder, PICTURES)
    pictures = [thumbnail(Image.open(photo)) for photo in photos]
    findings = [_finding(i, i / count, pictures[i % PICTURES]) for i in range(count)]
    report = Report(
        findings=findings,
        summary=Summary(),
        detector={"name": "benchmark", "sha256": "0" * 64, "precision": "int8",
                  "t_fake": BAND.t_fake, "t_real": BAND.t_real},
        settings={},
        version="0",
    )  # fmt: skip
    list(report.summary.watch(findings))
    page = folder / "report.html"
    page.write_text("".join(html_chunks(report)), encoding="utf-8")
    return page


def open_page(chromium: Any, page: Path) -> tuple[float, float]:
    """Seconds until the page has loaded, and until its first rows are drawn."""
    chromium.switch_to.new_window("tab")
    start = time.perf_counter()
    chromium.get(page.as_uri())
    rows = chromium.execute_async_script(DRAWN)
    drawn = time.perf_counter() - start
    if not rows:
        sys.exit("the page shows no rows")
    return float(chromium.execute_script(LOADED)), drawn


def _finding(number: int, score: float, picture: bytes) -> Finding:
    return Finding(
        path=f"holiday/2024/{number // 100:03}/IMG_{number:05}.jpg",
        verdict=BAND.verdict(score),
        score=score,
        logit=0.0,
        width=4032,
        height=3024,
        format="JPEG",
        thumbnail=picture,
        provenance="captured" if number % 3 else None,
        provenance_detail="exif: Pixel 8" if number % 3 else None,
    )


if __name__ == "__main__":
    main()
