"""The public names, the error tree, and what importing costs."""

import re
import subprocess
import sys

import pytest

import fakescan
from fakescan import errors

DRAWN = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+) +exit (?P<code>\d)", re.MULTILINE)
HEAVY = ("torch", "open_clip", "pandas", "onnxruntime", "matplotlib", "scipy", "sklearn")


def public_names() -> set[str]:
    """Names without an underscore that fakescan's own modules made, and the package shows."""
    return {
        name
        for name, value in vars(fakescan).items()
        if name[0] != "_" and getattr(value, "__module__", "").startswith("fakescan")
    }


def test_the_package_exports_exactly_what_it_lists():
    assert fakescan.__all__ == sorted(fakescan.__all__)
    assert public_names() <= set(fakescan.__all__)
    for name in fakescan.__all__:
        assert getattr(fakescan, name) is not None


def test_the_error_tree_is_drawn_as_it_is():
    drawn, path = {}, []
    for match in DRAWN.finditer(errors.__doc__ or ""):
        depth = len(match["indent"]) // 4
        path[depth - 1 :] = [match["name"]]
        parent = path[depth - 2] if depth > 1 else "Exception"
        drawn[match["name"]] = (parent, int(match["code"]))
    built = {
        name: (value.__base__.__name__, value.exit_code)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FakescanError)
    }
    assert drawn == built


def loaded(code: str) -> set[str]:
    """Heavy modules that a fresh interpreter has loaded after running some code."""
    report = f"import sys; print('loaded', *[m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded("import fakescan") == set()
    assert loaded("import fakescan\nimport sys\nassert 'typer' not in sys.modules") == set()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "scan",
        "train",
        "export",
        "verify",
        "evaluate",
        "calibrate",
        "bench",
        "data",
        "data check",
        "config",
        "cache",
        "report",
        "lora",
        "lora index",
        "attribute",
        "attribute learn",
    ],
)
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys\nfrom fakescan.cli import main\n"
        f"sys.argv = ['fakescan', *'{command} --help'.split()]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert loaded(code) == set()
