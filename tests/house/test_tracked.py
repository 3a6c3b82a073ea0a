"""Nothing of the machine it was written on gets into the repository."""

import re
import subprocess

MACHINE_PATHS = ("work", "root", "tmp/fs", "opt/pypi")
"""Top folders, without the leading slash, so that this file does not match itself."""


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on(root):
    pattern = re.compile(rf"(?<![\w./~-])/(?:{'|'.join(MACHINE_PATHS)})\b")
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=root, text=True).split("\0")
    found = []
    for name in filter(None, names):
        path = root / name
        if not path.is_file():  # deleted, not yet committed
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if "\0" not in text[:8000] and pattern.search(text):
            found.append(name)
    assert found == []


def test_no_large_file_is_tracked_but_the_weights(root):
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=root, text=True).split("\0")
    large = [n for n in filter(None, names) if (root / n).is_file()]
    large = [n for n in large if (root / n).stat().st_size > 1e6 and not n.startswith("weights/")]
    assert large == []
