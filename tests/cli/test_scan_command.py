import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fakescan.cli import main

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def scan(tiny, capsys):
    """Run `fakescan scan`: exit code, standard output, standard error."""

    def run(*arguments):
        code = main(["scan", "-j", "1", "--model", str(tiny), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def start(tiny, *arguments, **options):
    command = [sys.executable, "-m", "fakescan", "scan", "-j", "1", "--model", tiny, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_pipe_gets_csv_and_standard_error_the_summary(scan, photos):
    code, out, err = scan(photos)
    assert code == 0
    found = {Path(r["path"]).name: r["verdict"] for r in rows(out)}
    assert found == {
        "broken.png": "error", "dark.jpg": "real", "grey.png": "uncertain", "bright.webp": "fake",
    }  # fmt: skip
    assert err.startswith("4 images: 1 real, 1 uncertain, 1 fake, 1 error in ")
    assert "images/s" in err
    assert "skipped: 1 not an image" in err
    assert f"error: {photos}/broken.png: damaged: only its start is PNG" in err


def test_quiet_says_nothing_on_standard_error(scan, photos):
    assert scan(photos, "-q")[2] == ""


@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "table"])
def test_standard_output_takes_every_format(scan, photos, name):
    _, out, _ = scan(photos, "--format", name)
    assert "bright.webp" in out
    if name == "json":
        assert json.loads(out)["counts"] == {"real": 1, "uncertain": 1, "fake": 1, "error": 1}


def test_several_outputs_agree_and_leave_standard_output_empty(scan, photos, tmp_path):
    files = [tmp_path / f"report.{name}" for name in ("csv", "json", "jsonl")]
    code, out, _ = scan(photos, *[x for file in files for x in ("--output", file)])
    assert (code, out) == (0, "")
    document = json.loads(files[1].read_text())
    lines = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert document["status"] == "complete"
    assert document["findings"] == lines
    assert [r["path"] for r in rows(files[0].read_text())] == [r["path"] for r in lines]
    assert {p.name for p in tmp_path.iterdir()} == {"photos", *(f.name for f in files)}


def test_an_output_and_a_format_give_both(scan, photos, tmp_path):
    _, out, _ = scan(photos, "-o", tmp_path / "r.json", "-f", "jsonl")
    assert len(out.splitlines()) == 4
    assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 0),
        (["--fail-on", "fake"], 1),
        (["--fail-on", "error"], 1),
        (["--fail-on", "uncertain"], 1),
        (["--fail-on", "uncertain", "--threshold", "0.5"], 0),
        (["--fail-on", "uncertain", "--fail-on", "fake", "--threshold", "0.5"], 1),
    ],
)
def test_only_fail_on_makes_a_verdict_an_exit_code(scan, photos, arguments, code):
    assert scan(photos, *arguments)[0] == code


def test_each_fail_on_names_only_itself(scan, photos):
    assert scan(photos / "dark.jpg", "--fail-on", "fake", "--fail-on", "error")[0] == 0


def test_a_folder_without_images_is_an_empty_report_and_a_warning(scan, tmp_path):
    code, out, err = scan(tmp_path)
    assert (code, rows(out)) == (0, [])
    assert "warning: no images found" in err


def test_images_of_which_none_could_be_scored_are_code_3(scan, photos):
    assert scan(photos / "broken.png")[0] == 3
    assert scan(photos / "broken.png", "--fail-on", "error")[0] == 3


def test_a_path_that_does_not_exist_is_code_2_before_anything_is_scanned(scan, photos, tmp_path):
    code, out, err = scan(photos, tmp_path / "gone", "-o", tmp_path / "r.csv")
    assert (code, out, err) == (2, "", f"fakescan: {tmp_path}/gone: no such file or folder\n")
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["--nonsense"], [".", "--device", "tpu"], [".", "--fail-on", "real"], [".", "-f", "xml"]],
)
def test_a_wrong_command_line_is_code_2(arguments, capsys):
    assert main(["scan", *arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--threshold", "7"], "threshold: must lie between 0 and 1, got 7.0"),
        (["--batch-size", "0"], "batch_size: must be positive, got 0"),
        (["-o", "report.txt"], "report.txt: no report format; known: .csv, .json, .jsonl"),
        (["-o", "a.csv", "-o", "a.csv"], "--output: the same file twice"),
        (["-o", "none/report.csv"], "none/report.csv: cannot be written"),
        (["-o", "none/report.json"], "none/report.json: cannot be written"),
        (["-o", "folder.json"], "folder.json: cannot be written"),
    ],
)
def test_what_cannot_work_is_one_line_and_code_2(
    scan, photos, tmp_path, monkeypatch, arguments, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    code, out, err = scan(photos, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"fakescan: {reason}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("data", [None, b"junk"])
def test_a_model_that_cannot_be_used_is_code_3(photos, tmp_path, capsys, data):
    model = tmp_path / "model.onnx"
    if data:
        model.write_bytes(data)
    assert main(["scan", str(photos), "--model", str(model)]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"fakescan: {model}: ")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(photos, tmp_path):
    with pytest.raises(Exception, match="no such model file"):
        main(["--debug", "scan", str(photos), "--model", str(tmp_path / "none.onnx")])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_full_disk_is_one_line_and_code_2(scan, photos, tmp_path, name):
    (tmp_path / f"r.{name}").symlink_to("/dev/full")
    code, _, err = scan(photos, "-o", tmp_path / f"r.{name}")
    assert code == 2
    assert "r." in err
    assert "No space left" in err


@posix
def test_names_reach_reports_whole_and_terminals_escaped(scan, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = [b"new\nline.png", b"\x1b[31mred.png", b"[bold]b.png", b"=1+1.png", b"caf\xe9.png"]
    for name in odd:
        Image.new("L", (20, 20)).save(folder / "x.png")
        (folder / "x.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    (folder / "bad\x1b[2J.png").write_bytes(b"")
    code, _, err = scan(folder, "-o", tmp_path / "r.csv")
    assert code == 0
    assert r"bad\x1b[2J.png: the file is empty" in err
    assert "\x1b" not in err
    with (tmp_path / "r.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        found = {os.fsencode(Path(r["path"]).name) for r in csv.DictReader(file)}
    assert found == {*odd, b"bad\x1b[2J.png"}


@posix
def test_a_terminal_gets_a_table_in_colour_with_a_bar_and_no_raw_escape(tiny, tmp_path):
    pty = pytest.importorskip("pty")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b\x1b[31m[red].png"):
        Image.new("RGB", (20, 20), "white").save(folder / name)
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "fakescan", "scan", "--model", tiny, folder]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40"}
    environment.pop("NO_COLOR", None)
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
    assert rb"b\x1b[31m[red].png" in text
    assert b"scanning" in text
    assert b"\x1b[1;31mfake" in text
    assert b"2 images: 0 real, 0 uncertain, 2 fake" in text


@posix
@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
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
