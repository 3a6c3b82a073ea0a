import hashlib
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from fakescan.errors import ChecksumError, WeightsError
from fakescan.weights import cache_folder, registry, resolve

DATA = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(BaseHTTPRequestHandler):
    answers: ClassVar = {"/good.onnx": DATA, "/other.onnx": DATA[:-1], "/endless.onnx": DATA * 3}

    def do_GET(self):
        data = self.answers.get(self.path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):  # the reader had enough
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def known(tmp_path, url="", file="good.onnx", sha256=SHA256):
    (tmp_path / "registry.toml").write_text(
        f'default = "one"\n[one]\nfile = "{file}"\nurl = "{url}"\n'
        f'sha256 = "{sha256}"\nbytes = {len(DATA)}\nlicence = "MIT"\n'
    )
    return registry(tmp_path)


def test_a_file_is_taken_as_it_is(tmp_path):
    assert resolve(tmp_path / "a") == tmp_path / "a"
    assert resolve("folder/a") == resolve("./folder/a")
    (tmp_path / "b").touch()
    assert resolve(str(tmp_path / "b")) == tmp_path / "b"


def test_the_default_comes_with_the_package(tmp_path):
    entries = known(tmp_path)
    (tmp_path / "good.onnx").write_bytes(DATA)
    assert resolve(known=entries) == tmp_path / "good.onnx"
    assert resolve("one", offline=True, known=entries) == tmp_path / "good.onnx"


def test_a_shipped_file_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "good.onnx").write_bytes(b"damaged")
    with pytest.raises(ChecksumError, match="install fakescan again"):
        resolve(known=known(tmp_path))


def test_a_name_that_is_not_here_is_fetched_once(tmp_path, url, cache):
    entries = known(tmp_path, f"{url}/good.onnx")
    steps = []
    path = resolve("one", known=entries, progress=lambda done, total: steps.append((done, total)))
    assert path == cache / "good.onnx"
    assert path.read_bytes() == DATA
    assert steps[-1] == (len(DATA), len(DATA))
    assert len(steps) > 1
    assert resolve("one", known=entries, offline=True) == path
    assert [p.name for p in cache.iterdir()] == ["good.onnx"]


def test_a_cached_file_that_is_damaged_is_fetched_again(tmp_path, url, cache):
    entries = known(tmp_path, f"{url}/good.onnx")
    cache.mkdir(parents=True)
    (cache / "good.onnx").write_bytes(b"half")
    assert resolve("one", known=entries).read_bytes() == DATA


@pytest.mark.parametrize("file", ["other.onnx", "endless.onnx"])
def test_a_file_with_another_sha256_is_refused_and_not_kept(tmp_path, url, cache, file):
    with pytest.raises(ChecksumError, match="not the file that the registry means"):
        resolve("one", known=known(tmp_path, f"{url}/{file}"))
    assert list(cache.iterdir()) == []


def test_offline_never_fetches(tmp_path, url, cache):
    with pytest.raises(WeightsError, match="--offline forbids fetching"):
        resolve("one", known=known(tmp_path, f"{url}/good.onnx"), offline=True)
    assert not cache.exists()


@pytest.mark.parametrize("path", ["/missing.onnx", None])
def test_a_server_that_does_not_deliver_is_one_clear_line(tmp_path, url, path):
    where = f"{url}{path}" if path else "http://127.0.0.1:9/closed.onnx"
    with pytest.raises(WeightsError, match="cannot be fetched from") as caught:
        resolve("one", known=known(tmp_path, where))
    assert "\n" not in str(caught.value)


def test_a_name_without_url_says_so(tmp_path):
    with pytest.raises(WeightsError, match="no URL"):
        resolve("one", known=known(tmp_path))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_training_run_is_not_a_detector_yet(tmp_path, monkeypatch, kind):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="is exported first: fakescan export run --out"):
        resolve(kind("run"), known=known(tmp_path))


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(WeightsError, match="two: no such model file; known names: one"):
        resolve("two", known=known(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("[one", "cannot be read"),
        ('default = "two"\n[one]\nfile = "a"\nsha256 = ""\nbytes = 1\n', "'two' is not one of one"),
    ],
)
def test_a_broken_registry_is_one_clear_line(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "registry.toml").write_text(text)
    with pytest.raises(WeightsError, match=reason):
        registry(tmp_path)


def test_the_cache_has_a_place_on_every_system(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("FAKESCAN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "fakescan"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "fakescan")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "fakescan"
