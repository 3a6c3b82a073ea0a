"""Pictures and the page: they show every file, and no name can get out of its place."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from browsers import chromium
from fakescan.loras.page import page
from fakescan.loras.pictures import draw_all, scene

NAMES = ["ink/a.safetensors", "</script><b>x", "\x1b[2J", "$x^2$", "é" * 90, "plain"]


def shown(names=NAMES):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((len(names), 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    similarity = (points @ points.T).astype(np.float32)
    return scene(names, similarity, np.arange(len(names)) % 3 + 1)


@pytest.mark.parametrize("count", [1, 2, 6, 30])
def test_pictures_are_drawn_of_any_number_of_files(count, tmp_path):
    names = (NAMES * 6)[:count]
    written = draw_all(shown(names), tmp_path)
    wanted = {"map.png", "heatmap.png"} | ({"dendrogram.png"} if count > 1 else set())
    assert {path.name for path in written} == wanted
    for path in written:
        assert len(set(Image.open(path).convert("L").tobytes())) > 10


def test_pairs_that_are_not_compared_do_not_stop_a_picture(tmp_path):
    made = shown()
    made.similarity[0, 1] = made.similarity[1, 0] = np.nan
    assert len(draw_all(made, tmp_path)) == 3
    page(made)


def test_the_page_holds_every_file_and_loads_nothing():
    text = page(shown())
    block = re.search(r'<script type="application/json" id="files">(.*?)</script>', text, re.DOTALL)
    rows = json.loads(block[1])
    assert [row["path"] for row in rows][:3] == [NAMES[0], NAMES[1], "\\x1b[2J"]
    assert all(len(row["nearest"]) == 3 for row in rows)
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.mark.slow
def test_the_page_tells_a_name_on_hover_and_finds_by_path(browser, tmp_path):
    from selenium.webdriver import ActionChains

    file = tmp_path / "map.html"
    file.write_text(page(shown()), encoding="utf-8")
    browser.get(file.as_uri())
    circles = browser.find_elements("css selector", "circle")
    tip = browser.find_element("id", "tip")
    assert len(circles) == len(NAMES)
    assert not tip.is_displayed()
    ActionChains(browser).move_to_element(circles[1]).perform()
    assert tip.is_displayed()
    assert tip.text.splitlines()[:2] == ["</script><b>x", "cluster 2"]
    browser.find_element("id", "search").send_keys("ink/")
    assert browser.find_element("id", "shown").text == "1 of 6"
    assert len(browser.find_elements("css selector", "circle.dim")) == 5
    assert browser.get_log("browser") == []
