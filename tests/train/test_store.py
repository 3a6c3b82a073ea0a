"""Rows on disk: what is whole is kept, what is not is never read."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fakescan.errors import ConfigError
from fakescan.train.store import Layout, RowStore

LAYOUT = Layout((3, 4), True, 5)


def arrays(*values):
    n = len(values)
    column = np.array(values, np.float32)
    return {
        "tokens.f16": np.broadcast_to(column[:, None, None], (n, 3, 4)),
        "normed.f16": np.broadcast_to(-column[:, None, None], (n, 3, 4)),
        "features.f32": np.broadcast_to(column[:, None], (n, 5)),
    }


def fill(store, *values):
    with store.extending() as writer:
        writer.append([f"row{v}" for v in values], arrays(*values))


def test_rows_come_back_by_name_and_can_be_added(tmp_path):
    fill(RowStore(tmp_path, LAYOUT, {}), 1, 2)
    store = RowStore(tmp_path, LAYOUT, {})
    fill(store, 3)
    assert store.rows == {"row1": 0, "row2": 1, "row3": 2}
    assert store.read("features.f32", [2, 0])[:, 0].tolist() == [3, 1]
    assert store.read("normed.f16", [1]).tolist() == np.full((1, 3, 4), -2.0).tolist()


@pytest.mark.parametrize("damage", ["data without a name", "half a name", "a name without data"])
def test_a_partial_row_is_never_read_and_the_next_build_overwrites_it(tmp_path, damage):
    fill(RowStore(tmp_path, LAYOUT, {}), 1, 2)
    if damage == "a name without data":
        os.truncate(tmp_path / "tokens.f16", LAYOUT.row_bytes("tokens.f16") + 3)
        whole = {"row1": 0}
    else:
        with (tmp_path / "features.f32").open("ab") as stream:
            stream.write(b"\xff" * 7)
        with (tmp_path / "rows.txt").open("a") as names:
            names.write("row" if damage == "half a name" else "")
        whole = {"row1": 0, "row2": 1}
    store = RowStore(tmp_path, LAYOUT, {})
    assert store.rows == whole
    fill(store, 7)
    assert store.read("features.f32", [len(whole)])[0].tolist() == [7.0] * 5
    assert RowStore(tmp_path, LAYOUT, {}).rows == {**whole, "row7": len(whole)}


def test_a_writer_that_is_killed_leaves_only_whole_rows(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from test_store import *;"
        "store = RowStore(Path(sys.argv[1]), LAYOUT, {});\n"
        "with store.extending() as writer:\n"
        "    for i in range(10**9): writer.append([f'row{i}'], arrays(i)); writer.flush()\n"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), here])
    names = tmp_path / "rows.txt"
    while not (names.exists() and names.stat().st_size > 200):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = RowStore(tmp_path, LAYOUT, {})
    assert len(store.rows) > 10
    for name, at in store.rows.items():
        assert store.read("features.f32", [at])[0, 0] == float(name.removeprefix("row"))
    fill(store, -1)  # the lock went with the process
    assert store.read("features.f32", [store.rows["row-1"]])[0, 0] == -1


def test_too_small_a_limit_is_told_in_gigabytes(tmp_path):
    store = RowStore(tmp_path, Layout((197, 768), True, 4608), {})
    with pytest.raises(ConfigError, match=r"6\.\d\d GB needed, the limit is 5 GB"):
        store.check_space(10_000, 5.0)


def test_too_full_a_disk_is_told_in_gigabytes(tmp_path):
    store = RowStore(tmp_path, Layout((197, 768), True, 4608), {})
    with pytest.raises(ConfigError, match=r"GB more needed at .*, [\d.]+ GB are free"):
        store.check_space(10**9, 1e9)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"trunk cache .*cannot be written"):
        RowStore(tmp_path / "file" / "below", LAYOUT, {})
