"""The same images, from decoded pixels to verdict, in every runtime that there is an example of."""

import functools
import http.server
import json
import runpy
import subprocess
import threading

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from browsers import chromium
from fakescan import weights
from fakescan.export.crops import fixture_crops
from fakescan.image import normalise, views
from fakescan.metadata import from_json
from fakescan.records import mean_logits
from fakescan.session import OnnxSession
from fakescan.verify import OPENVINO

pytestmark = pytest.mark.slow
WITHIN = 1e-3


@pytest.fixture(scope="module")
def expected(detector, pngs):
    """What fakescan itself says: squares cut by Pillow, one after another."""
    session = OnnxSession(detector, device="cpu")
    about = session.metadata
    looks = [views(Image.open(png), about.preprocess) for png in pngs]
    logits = mean_logits(session, looks).tolist()
    scores = [about.calibration.score(logit) for logit in logits]
    return [(score, about.band.verdict(score).value) for score in scores]


def assert_same(found, expected):
    assert [f["score"] for f in found] == pytest.approx([s for s, _ in expected], abs=WITHIN)
    assert [f["verdict"] for f in found] == [verdict for _, verdict in expected]


def test_the_images_get_different_verdicts(expected):
    assert len({verdict for _, verdict in expected}) > 1
    assert np.std([score for score, _ in expected]) > 0.05


def test_python_without_fakescan(site, detector, pngs, expected):
    example = runpy.run_path(str(site / "score.py"))
    loaded = example["load"](str(detector))
    assert_same([example["judge"](*loaded, str(png)) for png in pngs], expected)


def test_openvino(detector, pngs, expected):
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(detector), "CPU", OPENVINO)
    properties = onnxruntime.InferenceSession(
        detector, providers=["CPUExecutionProvider"]
    ).get_modelmeta()
    about = from_json(properties.custom_metadata_map["fakescan"], "detector")
    found = []
    for png in pngs:
        logit = compiled({"image": np.asarray(Image.open(png))})["logit"]
        score = about.calibration.score(float(logit[0]))
        found.append({"score": score, "verdict": about.band.verdict(score).value})
    assert_same(found, expected)


def test_openvino_computes_the_shipped_int8_file_as_onnx_runtime_does():
    import openvino

    path = weights.resolve(None, offline=True)
    session = OnnxSession(path, device="cpu")
    crops = fixture_crops(session.metadata.preprocess)[::40]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", OPENVINO)
    pixels = normalise(crops, session.metadata.preprocess)
    found = [float(compiled({"pixels": p[np.newaxis]})["logit"][0]) for p in pixels]
    np.testing.assert_allclose(found, session.logits(crops), atol=WITHIN)


def test_node(site, pngs, expected):
    run = subprocess.run(
        ["node", "score.mjs", "detector.onnx", *map(str, pngs)],
        cwd=site, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert_same([json.loads(line) for line in run.stdout.splitlines()], expected)


@pytest.fixture(scope="module")
def released():
    """Before it is set, late.onnx is not given out."""
    return threading.Event()


@pytest.fixture(scope="module")
def address(site, released):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012 - as the class has it
            **http.server.SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def do_GET(self):  # as the class calls it
            if self.path == "/late.onnx":
                released.wait(60)
                self.path = "/detector.onnx"
            super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


def result_of(browser, png):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.find_element("id", "file").send_keys(str(png))
    verdict = browser.find_element("id", "verdict")
    return json.loads(
        WebDriverWait(browser, 60).until(lambda _: verdict.get_attribute("data-result"))
    )


def test_the_page_scores_images_in_the_browser(browser, address, pngs, expected):
    found = []
    for png in pngs:
        browser.get(address)
        found.append(result_of(browser, png))
    assert_same(found, expected)
    shown = browser.find_element("id", "verdict").text
    assert shown == f"{found[-1]['verdict']}: score {found[-1]['score']:.3f}"


def test_the_page_takes_a_dropped_image(browser, address, pngs, expected):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(address)
    browser.execute_async_script(
        """
        const done = arguments[0];
        fetch('dropped.png').then((a) => a.blob()).then((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], 'dropped.png', {type: 'image/png'}));
          const drop = document.getElementById('drop');
          drop.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}));
          done();
        });
        """
    )
    verdict = browser.find_element("id", "verdict")
    text = WebDriverWait(browser, 60).until(lambda _: verdict.get_attribute("data-result"))
    assert_same([json.loads(text)], expected[:1])


@pytest.fixture(autouse=True, scope="module")
def dropped(site, pngs):
    (site / "dropped.png").write_bytes(pngs[0].read_bytes())


def test_the_page_says_what_is_no_image(browser, address, tmp_path):
    (tmp_path / "no.png").write_text("not an image")
    browser.get(address)
    assert "error" in result_of(browser, tmp_path / "no.png")
    assert browser.find_element("id", "verdict").text.startswith("This cannot be scored")


def test_a_detector_that_comes_late_does_not_hide_what_was_said(
    browser, address, released, tmp_path
):
    from selenium.webdriver.support.wait import WebDriverWait

    (tmp_path / "no.png").write_text("not an image")
    browser.get(f"{address}/?model=late.onnx")
    assert "error" in result_of(browser, tmp_path / "no.png")
    released.set()
    drop = browser.find_element("id", "drop")
    assert WebDriverWait(browser, 60).until(lambda _: drop.get_attribute("data-loaded"))
    assert browser.find_element("id", "verdict").text.startswith("This cannot be scored")
