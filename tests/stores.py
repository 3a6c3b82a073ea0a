"""A real S3 server in a process of its own, and a proxy before it that can misbehave."""

import http.client
import io
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import botocore.session
from PIL import Image

ERRORS = {
    "busy": (503, "SlowDown"),
    "expired": (400, "ExpiredToken"),
    "forbidden": (403, "AccessDenied"),
    "unknown key": (403, "InvalidAccessKeyId"),
    "region": (400, "AuthorizationHeaderMalformed"),
    "gone": (404, "NoSuchKey"),
}
HEADERS = ("content-length", "connection", "transfer-encoding", "date", "server")


def encoded(grey, kind="PNG", size=(20, 20)):
    stream = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(stream, kind)
    return stream.getvalue()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def s3_server():
    """The port of moto's server, in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


class Faults:
    """What a proxy does to requests, and what it was asked."""

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self):
        self._planned, self.asked, self.most_at_once, self._now = [], [], 0, 0

    def plan(self, part, kind, times=1_000_000, method=None):
        """Let the next requests that have `part` in their path fail in a way."""
        self._planned.append([part, kind, times, method])

    def take(self, method, path, range_):
        with self._lock:
            self.asked.append((method, path, range_))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            for plan in self._planned:
                if plan[0] in path and plan[2] > 0 and plan[3] in (None, method):
                    plan[2] -= 1
                    return plan[1]
        return None

    def leave(self):
        with self._lock:
            self._now -= 1

    def count(self, part, method="GET"):
        return sum(part in path and m == method for m, path, _ in self.asked)


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to the port of its server, but for the faults that are planned."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        path = unquote(self.path)
        fault = self.server.faults.take(self.command, path, self.headers.get("Range"))
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if fault in ERRORS:
                self.refuse(*ERRORS[fault])
            else:
                self.forward(body, fault)
        finally:
            self.server.faults.leave()

    def refuse(self, status, code):
        text = f"<Error><Code>{code}</Code><Message>secret {code}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def forward(self, body, fault):
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HEADERS:
                self.send_header(name, value)
        size = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.send(data, fault)

    def send(self, data, fault):
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault == "slow":
            with suppress(OSError):
                for i in range(len(data)):
                    self.wfile.write(data[i : i + 1])
                    time.sleep(0.1)
        else:
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def s3_with_faults():
    """A `Faults`, an S3 server behind it, and the environment that leads there."""
    faults = Faults()
    with s3_server() as port:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        server.port, server.faults = port, faults
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "AKIDNOTSHOWN",
            "AWS_SECRET_ACCESS_KEY": "verysecret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            yield faults, port
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            server.shutdown()
            server.server_close()


class Bucket:
    """A bucket of an S3 server, filled past the proxy."""

    def __init__(self, port, name, faults):
        self.name, self.faults = name, faults
        self._client = botocore.session.get_session().create_client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}"
        )
        self._client.create_bucket(Bucket=name)

    def put(self, key, data):
        self._client.put_object(Bucket=self.name, Key=key, Body=data)
        return f"s3://{self.name}/{key}"

    def get(self, key):
        return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key):
        self._client.delete_object(Bucket=self.name, Key=key)

    def close(self):
        self._client.close()
