"""No file and no function grows beyond what a reader holds in mind."""

import ast
import subprocess
from pathlib import Path

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_WHEEL_BYTES = 95e6
MAX_SAMPLES_BYTES = 1.5e6


def python_files(root: Path) -> list[Path]:
    folders = ("fakescan", "scripts", "tests")
    return [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]


def test_no_file_is_longer_than_300_lines(root):
    lengths = {
        str(p.relative_to(root)): len(p.read_text(encoding="utf-8").splitlines())
        for p in python_files(root)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_no_function_body_is_longer_than_60_lines(root):
    too_long = {}  # without the signature: a command's options are its parameters
    for path in python_files(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    too_long[f"{path.relative_to(root)}:{node.name}"] = lines
    assert too_long == {}


def test_no_module_is_a_grab_bag(root):
    banned = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [p for p in (root / "fakescan").rglob("*.py") if p.stem in banned] == []


def test_the_weights_leave_room_in_a_95_mb_wheel(root):
    assert sum(p.stat().st_size for p in (root / "weights").rglob("*")) < MAX_WHEEL_BYTES - 2e6


def test_the_twelve_samples_are_small_and_their_origins_stated(root):
    listed = (root / "samples" / "README.md").read_text(encoding="utf-8")
    for folder in ("real", "fake"):
        images = sorted((root / "samples" / folder).iterdir())
        assert len(images) == 6
        assert [p.name for p in images if f"`{p.name}`" not in listed] == []
    tracked = subprocess.check_output(["git", "ls-files", "samples"], cwd=root, text=True).split()
    assert sum((root / name).stat().st_size for name in tracked) < MAX_SAMPLES_BYTES
