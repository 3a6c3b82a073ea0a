import os
import subprocess
import sys

import pytest

from fakescan.machine import description, usable_cores

needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two cores",
)


def on_one_core(code, *arguments):
    """What a fresh interpreter prints that may use one core only."""
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}])\n{code}"
    return subprocess.check_output([sys.executable, "-c", code, *arguments], text=True).split()


@needs_two_cores
def test_cores_that_a_process_is_kept_from_do_not_count():
    code = "from fakescan.machine import usable_cores; print(usable_cores())"
    assert on_one_core(code) == ["1"]


@needs_two_cores
def test_a_detector_stays_on_the_cores_that_the_process_may_use(tiny):
    code = (
        "import sys\nfrom pathlib import Path\nfrom fakescan.session import OnnxSession\n"
        "session = OnnxSession(Path(sys.argv[1]))\n"
        "threads = [int(t.name) for t in Path('/proc/self/task').iterdir()]\n"
        "print(len(set().union(*map(os.sched_getaffinity, threads))))"
    )
    assert on_one_core(code, str(tiny)) == ["1"]


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("50000 100000\n", 1), ("100000 100000", 1), ("max 100000\n", None), ("nonsense", None)],
)
def test_a_containers_quota_counts(quota, cores, tmp_path):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    unlimited = usable_cores(tmp_path / "nowhere")
    assert usable_cores(file) == (cores or unlimited)


@pytest.mark.parametrize(("quota", "cores"), [("50000\n", 1), ("100000", 1), ("-1\n", None)])
def test_the_quota_of_an_old_container_counts(quota, cores, tmp_path):
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    nowhere = tmp_path / "nowhere"
    unlimited = usable_cores(nowhere, nowhere)
    assert usable_cores(nowhere, tmp_path / "cpu.cfs_quota_us") == (cores or unlimited)


def test_a_scan_scores_with_as_many_threads_as_it_is_told(tiny, photos):
    code = (
        "import sys\nfrom pathlib import Path\nfrom fakescan import session\n"
        "from fakescan.cli import main\n"
        "made = session._load\n"
        "def load(*arguments):\n"
        "    found = made(*arguments)\n"
        "    print('threads', found.get_session_options().intra_op_num_threads)\n"
        "    return found\n"
        "session._load = load\n"
        "main(['scan', sys.argv[1], '--model', sys.argv[2], '--threads', '3', '--no-cache', '-q'])"
    )
    run = [sys.executable, "-c", code, str(photos), str(tiny)]
    assert "threads 3" in subprocess.check_output(run, text=True)


def test_a_generous_quota_makes_no_cores(tmp_path):
    file = tmp_path / "cpu.max"
    file.write_text("99900000 100000")
    assert usable_cores(file) == usable_cores(tmp_path / "nowhere")


def test_the_description_is_one_line():
    assert " core" in description()
    assert description().isprintable()
