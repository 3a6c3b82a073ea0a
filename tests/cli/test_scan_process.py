import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def start(tiny, *arguments, **options):
    command = [sys.executable, "-m", "fakescan", "scan", "-j", "1", "--model", tiny, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def on_terminal(command, **variables):
    """What a command prints on a terminal, all of it."""
    pty = pytest.importorskip("pty")
    primary, secondary = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "40"} | variables
    process = subprocess.Popen(command, stdout=secondary, stderr=secondary, env=environment)
    os.close(secondary)
    text = b""
    try:
        while chunk := os.read(primary, 4096):
            text += chunk
    except OSError:
        pass  # the other end closed
    os.close(primary)
    assert process.wait() == 0
    return text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_under_standard_output_is_one_line_and_code_2(tiny, photos):
    command = [sys.executable, "-m", "fakescan", "scan", "-q", "--model", tiny, str(photos)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "fakescan: standard output: cannot be written (No space left on device)\n"
    )


@posix
def test_a_terminal_gets_a_table_in_colour_with_a_bar_and_no_raw_escape(tiny, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b\x1b[31m[red].png"):
        Image.new("RGB", (20, 20), "white").save(folder / name)
    text = on_terminal([sys.executable, "-m", "fakescan", "scan", "--model", tiny, folder])
    assert rb"b\x1b[31m[red].png" in text
    assert b"scanning" in text
    assert b"\x1b[1;31mfake" in text
    assert b"2 images: 0 real, 0 uncertain, 2 fake" in text


@posix
def test_the_bar_is_full_at_the_end_and_known_images_count(tiny, photos, tmp_path):
    command = [sys.executable, "-m", "fakescan", "scan", "--model", tiny, photos]
    known = tmp_path / "known.json"
    subprocess.run([*command, "-q", "--hash", "-o", known], check=True)
    for options in ([], ["--baseline", known]):
        text = on_terminal([*command, *options], COLUMNS="90")
        assert b"4/4" in text
    assert b"0 images: " in text
    assert b"no images found" not in text


@posix
def test_an_error_is_told_once_on_a_terminal(tiny, photos):
    command = [sys.executable, "-m", "fakescan", "scan", "--no-progress", "--model", tiny, photos]
    assert on_terminal(command).count(b"only its start is PNG") == 1
    assert on_terminal([*command, "-f", "jsonl"]).count(b"only its start is PNG") == 1
    assert on_terminal([*command, "-o", photos / "r.json"]).count(b"only its start is PNG") == 1


@posix
@pytest.mark.parametrize(("options", "variables"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"})])
def test_colours_can_be_switched_off(tiny, photos, options, variables):
    command = [sys.executable, "-m", "fakescan", "scan", "--no-progress", "--model", tiny, photos]
    text = on_terminal([*command, *options], **variables)
    assert b"fake" in text
    assert b"\x1b[3" not in text
    assert b";3" not in text


@posix
@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "html", "sarif"])
def test_ctrl_c_ends_a_scan_with_a_partial_report_and_code_130(tiny, tmp_path, name):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.new("L", (20, 20)).save(folder / f"{i}.png")
    images = [str(folder), *_many(folder, 3000)]
    report = tmp_path / f"r.{name}"
    process = start(tiny, *images, "-o", report, "-f", "jsonl", start_new_session=True)
    for _ in range(3):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=20) == 130, err
    assert "interrupted: this report is partial" in err
    assert "Traceback" not in err
    text = report.read_text()
    if name == "json":
        document = json.loads(text)
        assert document["status"] == "partial"
        assert 3 <= len(document["findings"]) < 3003
        assert sum(document["counts"].values()) >= len(document["findings"])
    elif name == "html":
        assert '"is_complete": false' in text
        assert text.endswith("</html>\n")
    elif name == "sarif":
        (run,) = json.loads(text)["runs"]
        assert run["invocations"][0]["executionSuccessful"] is False
    else:
        assert text.endswith("\n")
        assert 3 <= text.count("\n") < 3003


@posix
def test_a_scan_leaves_no_process_behind(tiny, photos):
    process = start(tiny, photos, start_new_session=True)
    process.communicate()
    assert _descendants(process.pid) == []


@posix
def test_a_reader_that_goes_away_ends_a_scan_quietly(tiny, tmp_path):
    process = start(tiny, *_many(tmp_path, 2000))
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=20) == 130
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_scan_never_imports_torch(tiny, photos):
    code = (
        "import sys; from fakescan.cli import main\n"
        "assert main(['scan', '-q', '-j', '1', '--model', *sys.argv[1:]]) == 0\n"
        "assert not {'torch', 'open_clip', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tiny, photos], check=True, capture_output=True)


def test_a_scan_in_a_folder_with_modules_of_the_same_name_is_safe(tiny, photos, monkeypatch):
    (photos / "PIL.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(photos)
    script = Path(sys.executable).with_name("fakescan")
    done = subprocess.run([script, "scan", ".", "--model", tiny], capture_output=True, check=True)
    assert b"bright.webp" in done.stdout


def _many(folder, count):
    """Distinct names of one small image."""
    first = folder / "first.png"
    Image.new("L", (20, 20)).save(first)
    for i in range(count):
        (folder / f"link{i}.png").hardlink_to(first)
    return [str(folder / f"link{i}.png") for i in range(count)]


def _descendants(session):
    """Processes of the session that the scan led, or whose parent it was."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == session or int(fields[3]) == session:
            found.append(stat.parent.name)
    return found
