"""The page in a real browser: opened, clicked and typed into."""

from dataclasses import replace

import pytest
from PIL import Image

from browsers import chromium
from fakescan.cli import main
from fakescan.explain.figure import WIDTH_PX
from fakescan.records import Band, Finding, Verdict
from fakescan.scan.crop import thumbnail
from reports import FINDINGS, written

pytestmark = pytest.mark.slow

PICTURE = thumbnail(Image.new("RGB", (400, 300), "tomato"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture
def page(browser, tmp_path):
    """Open a report of some findings; whatever the browser complains of fails the test."""

    def open_page(findings=FINDINGS, change=str, **state):
        file = tmp_path / "report.html"
        file.write_text(change(written("html", findings, **state)), encoding="utf-8")
        browser.get(file.as_uri())
        return Page(browser)

    yield open_page
    assert browser.get_log("browser") == []


class Page:
    """What a person sees of the page, and does to it."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def texts(self, selector):
        return [element.text for element in self.all(selector)]

    @property
    def paths(self):
        return self.texts("td.path")

    @property
    def verdicts(self):
        return self.texts(".badge")

    def script(self, code):
        return self.browser.execute_script(code)

    def frame(self):
        """Wait until what was asked for is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def slide(self, name, score):
        self.script(
            f"const e = document.getElementById('t-{name}'); e.value = {score};"
            "e.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        self.frame()


def scored(*scores):
    band = Band(t_fake=0.8, t_real=0.3)
    return [
        Finding(
            path=f"set/{i}.png", verdict=band.verdict(score), score=score, logit=0.0,
            width=10 + i, height=10, format="PNG", thumbnail=PICTURE,
        )
        for i, score in enumerate(scores)
    ]  # fmt: skip


def test_findings_are_rows_with_the_most_suspicious_first(page):
    shown = page()
    assert shown.verdicts == ["fake", "uncertain", "real", "error"]
    assert shown.one("h1").text == "1 of 4 images looks AI-generated"
    assert shown.browser.title == "fakescan: 1 of 4 images looks AI-generated"
    assert r"=cmd()\n\x1b[31m[bold]é" in shown.paths[0]
    assert "damaged: image file is truncated" in shown.paths[3]
    assert "skipped: 3 not an image" in shown.one("#facts").text
    assert not shown.one("#partial").is_displayed()


def test_a_path_that_looks_like_markup_is_text(page):
    path = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    shown = page([Finding(path=path, verdict=Verdict.FAKE, score=1.0)])
    assert "".join(shown.paths[0].split("\n")) == path
    assert shown.all("td.path img, td.path script") == []


def test_the_page_asks_for_nothing(page):
    shown = page(scored(0.1, 0.9))
    loaded = shown.script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_thumbnails_are_shown(page):
    shown = page(scored(0.1, 0.9))
    sizes = "return [...document.images].map((i) => i.decode().then(() => i.naturalWidth))"
    assert shown.script(sizes.replace("return ", "return Promise.all(") + ")") == [128, 128]


def test_headings_sort_by_click_and_by_key(page):
    shown = page(scored(0.9, 0.1, 0.5))
    assert shown.texts("td.path .name") == ["0.png", "2.png", "1.png"]
    shown.one("th.path button").click()
    assert shown.texts("td.path .name") == ["0.png", "1.png", "2.png"]
    assert shown.one("th.path").get_attribute("aria-sort") == "ascending"
    shown.browser.switch_to.active_element.send_keys("\n")  # the heading kept the focus
    assert shown.texts("td.path .name") == ["2.png", "1.png", "0.png"]
    assert [h.get_attribute("aria-sort") for h in shown.all("th[aria-sort]")] == ["descending"]


def test_verdicts_and_words_filter(page):
    shown = page(scored(0.9, 0.1, 0.5, 0.2))
    assert shown.texts("#filters span") == ["All 4", "Fake 1", "Uncertain 1", "Real 2", "Error 0"]
    shown.one("input[value=real]").click()
    assert shown.verdicts == ["real", "real"]
    shown.one("#search").send_keys("SET 3.p")
    assert shown.texts("td.path .name") == ["3.png"]
    assert shown.one("#shown").text == "1 of 4 shown"
    shown.one("#search").send_keys("zzz")
    assert shown.one("#empty").is_displayed()


def test_thresholds_judge_again_and_can_be_reset(page):
    shown = page(scored(0.9, 0.6, 0.1))
    assert shown.verdicts == ["fake", "uncertain", "real"]
    shown.slide("fake", 0.55)
    assert shown.verdicts == ["fake", "fake", "real"]
    assert shown.one("h1").text == "2 of 3 images look AI-generated"
    shown.slide("real", 0.7)  # pushes the other
    assert shown.verdicts == ["fake", "real", "real"]
    assert (shown.one("#real-value").text, shown.one("#fake-value").text) == ("0.700", "0.700")
    shown.one("#reset").click()
    shown.frame()
    assert shown.verdicts == ["fake", "uncertain", "real"]
    assert not shown.one("#reset").is_enabled()


def test_everything_can_be_done_with_the_keyboard(page):
    shown = page(scored(0.9, 0.6, 0.1))
    tab, right, page_down = "\ue004", "\ue014", "\ue00f"
    shown.one("body").send_keys(tab)
    focus = shown.browser.switch_to
    assert focus.active_element.get_attribute("id") == "t-real"
    focus.active_element.send_keys(tab)
    focus.active_element.send_keys(page_down, page_down, page_down)  # a tenth each
    shown.frame()
    assert shown.verdicts == ["fake", "fake", "real"]
    reached = []
    for _ in range(5):
        focus.active_element.send_keys(tab)
        reached.append(focus.active_element.accessible_name)
    assert reached == ["All 3", "Filter by path", "path", "verdict", "score"]
    shown.one("input[value=all]").send_keys(right)
    assert set(shown.verdicts) == {"fake"}


def test_a_partial_report_says_so(page):
    assert page(is_complete=False).one("#partial").is_displayed()


def test_a_page_without_images_says_so(page):
    shown = page(())
    assert shown.one("h1").text == "No images"
    assert shown.one("#empty").is_displayed()


def test_evidence_gets_a_column_when_there_is_any(page):
    assert "provenance" not in page(scored(0.9)).texts("th")
    detail = "png: made with <b>ComfyUI</b>"
    (finding,) = scored(0.9)
    shown = page([replace(finding, provenance="generated", provenance_detail=detail)])
    assert "provenance" in shown.texts("th")
    assert shown.texts("td.text") == [f"generated\n{detail}"]


def test_the_page_is_dark_where_people_like_it_dark(page):
    shown = page(scored(0.9))
    colours = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours[scheme] = shown.script("return getComputedStyle(document.body).backgroundColor")
    shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == {"light": "rgb(246, 246, 244)", "dark": "rgb(19, 20, 23)"}


def test_of_5000_findings_rows_come_as_they_are_needed(page):
    findings = scored(*(i / 5000 for i in range(5000)))
    shown = page(findings)
    assert len(shown.all("tbody tr")) < 500
    assert shown.one("#shown").text == "5,000 of 5,000 shown"
    before = len(shown.all("tbody tr"))
    shown.script("scrollTo(0, document.body.scrollHeight)")
    for _ in range(5):
        shown.frame()
    assert len(shown.all("tbody tr")) > before


def test_a_scan_writes_a_page_that_opens(page, browser, photos, tiny, tmp_path):
    report = tmp_path / "scan.html"
    command = ["scan", str(photos), "-q", "-j", "1", "--model", str(tiny), "-o", str(report)]
    assert main(command) == 0
    browser.get(report.as_uri())
    shown = Page(browser)
    assert shown.verdicts == ["fake", "uncertain", "real", "error"]
    assert len(shown.all("img")) == 3
    assert shown.texts("td.path .name")[0] == "bright.webp"


def test_an_explanation_opens_from_the_page(page, browser, photos, tiny, tmp_path):
    report = tmp_path / "my scan.html"
    command = ["scan", str(photos), "-q", "-j", "1", "--model", str(tiny), "-o", str(report)]
    assert main([*command, "--explain"]) == 0
    browser.get(report.as_uri())
    shown = Page(browser)
    assert shown.texts("td.path a") == ["explanation"] * 3  # none for the file without a score
    before = browser.current_window_handle
    for link in (shown.one("td.path a"), shown.one("td.thumbnail a")):
        link.click()
        (opened,) = set(browser.window_handles) - {before}
        browser.switch_to.window(opened)
        assert "/my%20scan.html.explain/bright-" in browser.current_url
        assert browser.execute_script("return document.images[0].naturalWidth") == WIDTH_PX
        browser.close()
        browser.switch_to.window(before)
