"""The pages say what the program does."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

import fakescan
from fakescan.cli import app
from fakescan.cli.scan import scan
from fakescan.cli.settings import options_of

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


def pages(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def all_commands() -> Iterator[tuple[str, object]]:
    """Every command below the top one, by its words."""

    def below(group: object, words: str) -> Iterator[tuple[str, object]]:
        assert isinstance(group, TyperGroup)
        context = typer.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield f"{words}{name}", command
            if isinstance(command, TyperGroup):
                yield from below(command, f"{words}{name} ")

    yield from below(get_command(app), "")


COMMANDS = dict(all_commands())


def options(command: object) -> set[str]:
    names = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    return {name for name in names if name.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name, root):
    command = COMMANDS[name]
    section = (
        (root / "docs/reference/cli.md")
        .read_text(encoding="utf-8")
        .split(f"## fakescan {name}\n")[1]
    )
    section = section.split("\n## ")[0]
    assert command.help
    assert [p.name for p in command.params if not p.help and p.name != "help"] == []
    assert [o for o in options(command) if o not in section] == []


def test_every_setting_and_its_variable_is_explained(root):
    page = (root / "docs/reference/configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [(name, option.variable) for name, option in options_of(scan).items()]


def test_the_generated_pages_are_fresh(root):
    script = root / "scripts" / "generate_reference.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_every_command_shown_on_a_page_exists(root):
    wrong = []
    for page in pages(root):
        for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
            for line in re.findall(r"^(?:.*&& )?fakescan (.*)$", fence["body"], re.MULTILINE):
                words = line.split("#")[0].split()
                name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
                known = options(COMMANDS.get(name, get_command(app)))
                wrong += [
                    f"{page.name}: {line}: {w}" for w in words if w[:2] == "--" and w not in known
                ]
                is_whole = name in COMMANDS and not isinstance(COMMANDS[name], TyperGroup)
                if not is_whole and not name.startswith("-"):
                    wrong.append(f"{page.name}: {line}")
    assert wrong == []


def test_every_link_leads_somewhere(root):
    broken = []
    for page in pages(root):
        for link in LINK.finditer(page.read_text(encoding="utf-8")):
            target = page if not link["path"] else (page.parent / link["path"]).resolve()
            if not target.exists() or (link["anchor"] and link["anchor"] not in anchors(target)):
                broken.append(f"{page.relative_to(root)}: {link[0][2:-1]}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_the_version_is_the_same_everywhere(root):
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert fakescan.__version__ == version
    assert f"\n## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["scan", "test"])
def test_the_readme_commands_are_one_line_that_a_shell_reads(name, root):
    command = subprocess.check_output(["bash", root / "scripts/readme-command", name], text=True)
    assert len(command.splitlines()) == 1
    subprocess.run(["bash", "-n", "-c", command], check=True)
    assert f"run_readme_command {name}\n" in (root / ".ci/run").read_text(encoding="utf-8")
