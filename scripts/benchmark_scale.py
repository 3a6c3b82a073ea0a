#!/usr/bin/env python3
"""What a scan of a bucket costs as the number of objects grows, and what Ray costs beside it.

python scripts/benchmark_scale.py --objects 1000 10000 100000     # listing, rate, memory, report
python scripts/benchmark_scale.py --ray 5000                      # Ray beside the local engine

Objects are small images that a server of this script makes up on loopback: it speaks as much S3
as a scan asks for, and holds nothing; it takes a share of the processors. The detector is the tiny
one of scripts/tiny_detector.py, so that what is measured is all but the detector. Starting Python
is no part of any rate; what starting Ray takes is measured with so few images that its processes
have just started, told, and taken off. Needs the extras train, remote and ray.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
PICTURES = 360
FEW = 512
"""Images after which every process of a scan with Ray has started: two blocks for each core."""
ROOT = Path(__file__).resolve().parent.parent


class MadeUp(BaseHTTPRequestHandler):
    """A bucket called `b-<objects>`, whose keys are `images/<number>.jpg`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """An object, or a page of the listing."""
        url = urlsplit(self.path)
        key = url.path.strip("/").partition("/")[2]
        if key:
            number = int(Path(key).stem)
            self._answer(image(number), "image/jpeg", f"{number:032x}")
        else:
            self._answer(self._page(url.path.strip("/"), parse_qs(url.query)), "application/xml")

    def do_HEAD(self) -> None:
        """No object is a folder."""
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _page(self, bucket: str, asked: dict[str, list[str]]) -> bytes:
        objects = int(bucket.removeprefix("b-"))
        first = int(asked.get("continuation-token", ["0"])[0])
        last = min(objects, first + min(PAGE, int(asked.get("max-keys", [str(PAGE)])[0])))
        keys = "".join(
            f"<Contents><Key>{escape(f'images/{i:09}.jpg')}</Key><Size>{len(image(i))}</Size>"
            f"<ETag>&quot;{i:032x}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for i in range(first, last)
        )
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < objects else ""
        cut = "true" if token else "false"
        return (
            "<ListBucketResult>"
            f"<KeyCount>{last - first}</KeyCount><IsTruncated>{cut}</IsTruncated>{keys}{token}"
            "</ListBucketResult>"
        ).encode()

    def _answer(self, body: bytes, kind: str, tag: str = "page") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("ETag", f'"{tag}"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def image(number: int) -> bytes:
    """A JPEG of 64 pixels and about 1 kB, unlike any other: its number is in a comment.

    A scan scores the same bytes once, wherever they are.
    """
    drawn = _drawn(number % PICTURES)
    comment = f"{number:09}".encode()
    return drawn[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + drawn[2:]


@lru_cache(maxsize=PICTURES)
def _drawn(number: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).rotate(number % 360).convert("RGB").save(
        stream, "JPEG", quality=60 + number % 30
    )
    return stream.getvalue()


def serve(port: int) -> None:
    """Answer until the process is ended."""
    server = ThreadingHTTPServer(("127.0.0.1", port), MadeUp)
    server.daemon_threads = True
    server.serve_forever()


@contextmanager
def bucket_server() -> Iterator[dict[str, str]]:
    """The environment that leads to such a server."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    time.sleep(3)
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.join()


def scan(
    target: str, model: Path, output: Path, environment: dict[str, str], *options: str
) -> dict[str, float]:
    """Seconds, megabytes, seconds of processors and bytes of one scan in a process of its own."""
    command = [
        *(sys.executable, str(Path(__file__).resolve()), "--child", "scan", "--model", str(model)),
        *(target, "--quiet", "--output", str(output), *options),
    ]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    from fakescan.report.stored import open_report

    elapsed = open_report(output).said["elapsed_s"]
    peak, busy = map(float, done.stdout.split()[-2:])
    size = output.stat().st_size
    return {"elapsed_s": elapsed, "peak_mb": peak, "busy_s": busy, "bytes": size}


def listing(objects: int, environment: dict[str, str]) -> float:
    """Seconds that listing takes."""
    code = (
        "import time; from fakescan.places.access import Access\n"
        "from fakescan.places.store import store_of\n"
        "list(store_of('s3://b-1/images', Access()).entries('s3://b-1/images'))\n"
        f"u = 's3://b-{objects}/images'; t = time.perf_counter()\n"
        "n = sum(1 for _ in store_of(u, Access()).entries(u))\n"
        "print(n, time.perf_counter() - t)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, seconds = done.stdout.split()
    assert int(count) == objects
    return float(seconds)


def scale(counts: list[int], model: Path, folder: Path, environment: dict[str, str]) -> None:
    """A row for each number of objects."""
    print(
        "objects  list/s  scan/s  again/s  CPU ms  peak MB  Parquet B/row  JSON B/row  cache B/row"
    )
    for count in counts:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            cache = environment | {"FAKESCAN_CACHE_DIR": name}
            seconds = listing(count, environment)
            target = f"s3://b-{count}/images"
            first = scan(target, model, folder / "r.json", cache)
            again = scan(target, model, folder / "r.parquet", cache)
            size = sum(p.stat().st_size for p in Path(name).iterdir())
        print(
            f"{count:>7} {count / seconds:>7.0f} {count / first['elapsed_s']:>7.0f} "
            f"{count / again['elapsed_s']:>8.0f} {1e3 * first['busy_s'] / count:>7.1f} "
            f"{first['peak_mb']:>8.0f} "
            f"{again['bytes'] / count:>14.0f} {first['bytes'] / count:>11.0f} "
            f"{size / count:>12.0f}",
            flush=True,
        )


def beside_ray(count: int, rounds: int, model: Path, folder: Path) -> None:
    """Local files with either engine, in turn."""
    few, many = folder / "few", folder / "many"
    for photos, images in ((few, FEW), (many, FEW + count)):
        photos.mkdir()
        for i in range(images):
            (photos / f"{i:06}.jpg").write_bytes(image(i))
    for _ in range(rounds):
        times, starts = {}, {}
        for engine in ("local", "ray"):
            options = ("--no-cache", "--engine", engine)
            seconds = [
                scan(str(photos), model, folder / f"{engine}.json", {}, *options)["elapsed_s"]
                for photos in (few, many)
            ]
            starts[engine], times[engine] = seconds[0], seconds[1] - seconds[0]
        print(
            f"{count} images: local {times['local']:.1f} s after {starts['local']:.1f} for {FEW}, "
            f"ray {times['ray']:.1f} s after {starts['ray']:.1f}, "
            f"ratio {times['ray'] / times['local']:.2f}",
            flush=True,
        )


def child(arguments: list[str]) -> int:
    """One scan; then the most memory of this process, in MB, and seconds of processors in all."""
    from fakescan.cli import main

    code = main(arguments)
    own = resource.getrusage(resource.RUSAGE_SELF)
    decoders = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = sum(usage.ru_utime + usage.ru_stime for usage in (own, decoders))
    print(own.ru_maxrss / 1e3, busy)
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="*", default=[])
    parser.add_argument("--ray", type=int, metavar="IMAGES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="another detector than the tiny one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        detector = asked.model or Path(name) / "tiny.onnx"
        if asked.model is None:
            subprocess.run(
                [sys.executable, str(ROOT / "scripts" / "tiny_detector.py"), str(detector)],
                check=True,
            )
        if asked.objects:
            with bucket_server() as variables:
                scale(asked.objects, detector, Path(name), variables)
        if asked.ray:
            beside_ray(asked.ray, asked.rounds, detector, Path(name))
