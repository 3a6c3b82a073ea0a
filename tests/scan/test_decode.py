import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakescan.errors import ImageError, ImageUnreadable
from fakescan.image import Limits, Preprocess
from fakescan.scan.ahead import decode_ahead
from fakescan.scan.decode import Child, Children
from fakescan.scan.worker import Job, serve

JOB = Job(preprocess=Preprocess(image_px=16))
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def white(tmp_path):
    Image.new("RGB", (20, 30), "white").save(tmp_path / "white.png")
    return str(tmp_path / "white.png")


@given(st.lists(st.integers()), st.integers(1, 4), st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_every_item_comes_once_and_in_order(items, workers, ahead):
    decoded = decode_ahead(items, lambda i: i * 2, workers=workers, ahead=ahead)
    assert [(d.item, d.pixels) for d in decoded] == [(i, i * 2) for i in items]


def test_no_more_than_ahead_items_are_held():
    held, peak, lock = 0, 0, threading.Lock()

    def decode(i):
        nonlocal held, peak
        with lock:
            held += 1
            peak = max(peak, held)
        return i

    for _ in decode_ahead(range(100), decode, workers=4, ahead=5):
        with lock:
            held -= 1
    assert peak <= 6  # five waiting, one in the consumer's hands


def test_an_image_error_is_data_and_a_bug_is_a_bug():
    def decode(i):
        if i == 1:
            raise ImageUnreadable("bad")
        if i == 3:
            raise ZeroDivisionError
        return i

    decoded = decode_ahead(range(5), decode, workers=2, ahead=2)
    assert [str(next(decoded).error) for _ in range(3)] == ["None", "bad", "None"]
    with pytest.raises(ZeroDivisionError):
        list(decoded)


def test_a_child_gives_the_same_crop_as_this_process(tmp_path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    image.save(tmp_path / "noise.png")
    with Children(JOB) as children:
        crop = children.decode(str(tmp_path / "noise.png"))
    expected = np.asarray(image.crop((17, 12, 33, 28)))
    assert (crop.width, crop.height, crop.format) == (50, 40, "PNG")
    assert np.array_equal(crop.pixels, expected[None])


def test_a_bad_file_is_an_error_and_the_child_lives_on(tmp_path, white):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with Children(JOB) as children:
        with pytest.raises(ImageError, match="not an image"):
            children.decode(str(tmp_path / "bad.png"))
        first = _pids(children)
        assert children.decode(white).width == 20
        assert _pids(children) == first


@posix
def test_a_hang_costs_one_file_and_is_called_so(tmp_path, white):
    hang = tmp_path / "hang.png"
    with Children(Job(preprocess=JOB.preprocess, timeout_s=0.5)) as children:
        children.decode(white)
        (pid,) = _pids(children)
        os.kill(pid, signal.SIGSTOP)  # as good as a decoder that never returns
        with pytest.raises(ImageUnreadable, match=r"took longer than 0\.5 s"):
            children.decode(str(hang))
        assert children.decode(white).width == 20
        assert pid not in _pids(children)
    assert not _exists(pid)


@posix
def test_a_crash_costs_one_file_and_is_called_so(white):
    with Children(JOB) as children:
        children.decode(white)
        (child,) = children._all
        os.kill(child._process.pid, signal.SIGSTOP)
        threading.Timer(0.2, child.kill).start()
        with pytest.raises(ImageUnreadable, match="the decoder crashed"):
            children.decode(white)
        assert children.decode(white).width == 20


@posix
def test_a_child_that_died_while_idle_costs_nothing(white):
    with Children(JOB) as children:
        children.decode(white)
        (child,) = children._all
        child.kill()
        child._process.wait()
        assert children.decode(white).width == 20


def test_closing_ends_busy_children_at_once(white):
    children = Children(JOB)
    children.decode(white)
    (child,) = children._all
    if sys.platform != "win32":
        os.kill(child._process.pid, signal.SIGSTOP)
    failures = []

    def decode():
        try:
            children.decode(white)
        except ImageError as e:
            failures.append(e)

    thread = threading.Thread(target=decode)
    thread.start()
    time.sleep(0.2)
    children.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert child._process.returncode is not None
    with pytest.raises(ImageUnreadable, match="stopped"):
        children.decode(white)


def test_a_bug_in_a_child_is_raised_with_its_traceback(white):
    job = Job(preprocess=Preprocess(image_px=16), limits=Limits(max_megapixels="many"))  # type: ignore[arg-type]
    with Children(job) as children, pytest.raises(RuntimeError, match="did not start"):
        children.decode(white)


def test_the_protocol_reports_a_bug(monkeypatch, white):
    def fail(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("fakescan.scan.worker.crop_file", fail)
    answers = io.BytesIO()
    serve(io.BytesIO(JOB.to_json() + json.dumps(white).encode() + b"\n"), answers)
    ready, answer = answers.getvalue().splitlines()
    assert json.loads(ready) == {}
    assert "ZeroDivisionError: oops" in json.loads(answer)["bug"]


def test_a_module_in_the_working_folder_is_not_imported_by_a_child(tmp_path, monkeypatch, white):
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    with Children(JOB) as children:
        assert children.decode(white).width == 20


def test_a_child_does_not_outlive_a_parent_that_was_killed(white):
    code = (
        "import os, sys; from fakescan.scan.decode import *\n"
        "from fakescan.image import Preprocess\n"
        "child = Child(Job(preprocess=Preprocess(image_px=16)))\n"
        "child.decode(sys.argv[1]); print(child._process.pid, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, white], capture_output=True, text=True)
    _wait_until(lambda: not _exists(int(done.stdout)))


def test_children_of_a_worker_that_never_starts_are_a_bug(monkeypatch, white):
    monkeypatch.setattr("fakescan.scan.decode.START", "import sys; sys.exit(7)")
    child = Child(JOB)
    with pytest.raises(RuntimeError, match="did not start: exit code 7"):
        child.decode(white)
    child.dispose()


def _pids(children):
    return {child._process.pid for child in children._all}


def _exists(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _wait_until(claim, timeout_s=10):
    end = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.02)
