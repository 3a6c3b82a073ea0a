"""S3 and what speaks like it: listings page by page, and objects with the ETag they had."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from fakescan.places.access import Access, PlaceProblem, patiently
from fakescan.places.patient import BlockFile
from fakescan.places.problems import GONE, Problem, ShortRead
from fakescan.places.store import Content, Entry, FsspecStore

T = TypeVar("T")

LISTERS = 8
"""Folders that are listed at once, the one that is yielded and those behind it."""
BLOCK_BYTES = 4 << 20
"""What is fetched at once of an archive; objects that are images are fetched whole."""
PAGE = 1000
"""Keys in one answer, the most that S3 gives."""
Page = tuple[list[Entry | str], str | None]
"""Objects and folders in order of their keys, and how to ask for what follows."""


def s3_filesystem(access: Access) -> Any:
    """s3fs, as it finds its credentials and endpoint, without retries of its own.

    It would repeat what we repeat, and its library once more.
    """
    import s3fs

    filesystem = s3fs.S3FileSystem(
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "connect_timeout": min(10.0, access.timeout_s),
            "read_timeout": access.timeout_s,
            "max_pool_connections": access.readers + LISTERS,
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    filesystem.retries = 1
    return filesystem


class S3Store(FsspecStore):
    """A store that speaks S3."""

    def __init__(self, filesystem: Any, scheme: str, access: Access) -> None:
        super().__init__(filesystem, scheme, access)
        self._stop = threading.Event()
        self._reading: set[Future[Any]] = set()

    def look(self, uri: str) -> Entry | None:
        """As `Store.look`: a HEAD; only what is no object is asked for as a folder."""
        bucket, key, _ = self._fs.split_path(uri)
        if key and not key.endswith("/"):
            try:
                return self._head(uri, bucket, key)
            except PlaceProblem as e:
                if e.problem.reason != GONE:
                    raise
        prefix = _prefix(key)
        if not self._page(bucket, prefix, "", None, limit=1)[0] and prefix:
            raise PlaceProblem(Problem(GONE), 1)
        return None

    def entries(self, folder: str) -> Iterator[Entry]:
        """As `Store.entries`: a thousand in a request, several folders at once."""
        bucket, key, _ = self._fs.split_path(folder)
        pool = ThreadPoolExecutor(LISTERS, thread_name_prefix="list")
        try:
            yield from self._below(bucket, _prefix(key), pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def read(self, entry: Entry, end: int | None = None) -> Content:
        """As `Store.read`: one request, which also says what was read."""
        return self._soon(lambda: self._get(entry.uri, end))

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """As `Store.read_range`."""
        return self._soon(lambda: self._get_range(entry, start, end))

    def open(self, uri: str) -> io.RawIOBase:
        """As `Store.open`."""
        entry = self.look(uri)
        if entry is None or entry.size is None:
            raise PlaceProblem(Problem(GONE), 1)
        return BlockFile(partial(self.read_range, entry), entry.size, BLOCK_BYTES)

    def abandon(self) -> None:
        """As `Store.abandon`."""
        stop, self._stop = self._stop, threading.Event()
        stop.set()
        for coming in tuple(self._reading):
            coming.cancel()

    def _soon(self, get: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What a request gives, tried again while that may help; `abandon` ends it."""
        stop = self._stop

        def pause(seconds: float) -> None:
            stop.wait(seconds)

        def ask() -> T:
            if stop.is_set():
                raise CancelledError
            timed = asyncio.wait_for(get(), self._access.timeout_s)
            coming = asyncio.run_coroutine_threadsafe(timed, self._fs.loop)
            self._reading.add(coming)
            try:
                return coming.result()
            finally:
                self._reading.discard(coming)

        return patiently(ask, self._access, pause)

    async def _get_range(self, entry: Entry, start: int, end: int) -> bytes:
        bucket, key, version = self._fs.split_path(entry.uri)
        asked = {"Range": f"bytes={start}-{end - 1}"}
        asked |= {"VersionId": version} if version else {}
        asked |= {"IfMatch": entry.tag} if entry.tag else {}
        answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **asked)
        async with answer["Body"] as body:
            data: bytes = await body.read()
        if len(data) < end - start:
            raise ShortRead
        return data

    async def _get(self, uri: str, end: int | None) -> Content:
        bucket, key, version = self._fs.split_path(uri)
        asked = {"Range": f"bytes=0-{end - 1}"} if end is not None else {}
        asked |= {"VersionId": version} if version else {}
        answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **asked)
        async with answer["Body"] as body:
            data: bytes = await body.read()
        if len(data) < answer["ContentLength"]:
            raise ShortRead
        return Content(data, Entry(uri, None if end else len(data), answer.get("ETag")))

    def _head(self, uri: str, bucket: str, key: str) -> Entry:
        try:
            info = self._call("head_object", Bucket=bucket, Key=key)
        except PlaceProblem as e:
            if e.problem.is_passing or e.problem.reason == GONE:
                raise
            return self.read(Entry(uri), end=1).entry  # unlike a HEAD, it says why it fails
        return Entry(uri, int(info["ContentLength"]), info.get("ETag"))

    def _below(self, bucket: str, prefix: str, pool: ThreadPoolExecutor) -> Iterator[Entry]:
        """Yield objects by key, while the folders that come next are being listed."""

        def listed(folder: str, delimiter: str = "") -> Iterator[Entry | str]:
            return _ahead(pool, lambda token: self._page(bucket, folder, delimiter, token))

        waiting: deque[Iterator[Entry | str]] = deque()
        problem: PlaceProblem | None = None
        try:
            for item in listed(self._fork(bucket, prefix), "/"):
                waiting.append(iter((item,)) if isinstance(item, Entry) else listed(item))
                if len(waiting) > LISTERS:
                    yield from _entries(waiting.popleft())
        except PlaceProblem as e:
            problem = e  # what was found before is not lost
        while waiting:
            yield from _entries(waiting.popleft())
        if problem is not None:
            raise problem

    def _fork(self, bucket: str, prefix: str) -> str:
        """The first folder downwards that holds more than one other folder."""
        while True:
            items, _ = self._page(bucket, prefix, "/", None, limit=2)
            if len(items) != 1 or isinstance(items[0], Entry):
                return prefix
            prefix = items[0]

    def _page(
        self,
        bucket: str,
        prefix: str,
        delimiter: str,
        token: str | None,
        *,
        limit: int | None = None,
    ) -> Page:
        asked = {"ContinuationToken": token} if token else {}
        asked |= {"Delimiter": delimiter} if delimiter else {}
        answer = self._call(
            "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=limit or PAGE, **asked
        )
        keyed: list[tuple[str, Entry | str]] = [
            (o["Key"], Entry(f"{self._scheme}://{bucket}/{o['Key']}", o["Size"], o.get("ETag")))
            for o in answer.get("Contents", ())
            if not o["Key"].endswith("/")  # what consoles put there to show a folder
        ]
        keyed += [(p["Prefix"], p["Prefix"]) for p in answer.get("CommonPrefixes", ())]
        keyed.sort(key=lambda pair: pair[0].encode())
        return [item for _, item in keyed], answer.get("NextContinuationToken")

    def _call(self, method: str, **asked: Any) -> dict[str, Any]:
        timeout_s = self._access.timeout_s

        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = self._fs.call_s3(method, timeout=timeout_s, **asked)
            return answer

        return patiently(ask, self._access)


def _ahead(pool: ThreadPoolExecutor, page: Callable[[str | None], Page]) -> Iterator[Entry | str]:
    """Yield the items of all pages; the next page is on its way from now on, always."""
    first = pool.submit(page, None)

    def items() -> Iterator[Entry | str]:
        coming: Future[Page] | None = first
        while coming is not None:
            found, token = coming.result()
            coming = pool.submit(page, token) if token else None
            yield from found

    return items()


def _entries(items: Iterator[Entry | str]) -> Iterator[Entry]:
    return (item for item in items if isinstance(item, Entry))


def _prefix(key: str) -> str:
    return key if not key or key.endswith("/") else f"{key}/"
