"""Write docs/reference/cli.md from the commands' help and config.md from the settings' docstrings.

`--check` writes nothing and exits with 1 when a page is stale. Settings are read from the source,
so that nothing needs torch.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from fakescan.cli import app

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
WIDTH = 96
"""Columns of the help texts."""
ROOT_SETTINGS = "TrainConfig"
"""The dataclass that a `--config` file fills; those it nests follow."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings dataclass, as its source states it."""

    name: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Settings:
    """A dataclass and its fields."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]


def cli_page() -> str:
    """Every command's `--help`, as Markdown."""
    texts = [f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(get_command(app))]
    return "# Commands\n\nGenerated from `--help`.\n\n" + "\n".join(texts)


def _helps(
    command: object, name: str = "fakescan", parent: typer.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the path and plain help of a command and all below it, top down."""
    assert isinstance(command, (TyperCommand, TyperGroup))
    command.rich_markup_mode = None  # plain text, no boxes
    context = typer.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, TyperGroup):
        for child in command.list_commands(context):
            yield from _helps(command.get_command(context, child), child, context)


def config_page() -> str:
    """Every setting of a training run, as Markdown tables."""
    known = {s.name: s for s in _all_settings()}
    order = [ROOT_SETTINGS]
    for name in order:
        for setting in known[name].settings:
            words = re.findall(r"\w+", setting.type)
            order.extend(w for w in words if w in known and w not in order)
    return (
        "# Settings\n\nGenerated from the source. A `--config` file in TOML holds the settings of "
        f"`{ROOT_SETTINGS}` at the top, and each nested table under its name. Unknown settings and "
        "wrong types are refused.\n\n" + "\n".join(_table(known[name]) for name in order)
    )


def _table(settings: Settings) -> str:
    rows = [
        f"| `{s.name}` | `{s.type}` | {f'`{s.default}`' if s.default else ''} | {s.meaning} |"
        for s in settings.settings
    ]
    head = "| setting | type | default | meaning |\n|---|---|---|---|"
    return "\n".join([f"## {settings.name}", "", settings.meaning, "", head, *rows, ""])


def _all_settings() -> Iterator[Settings]:
    modules = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "fakescan").rglob("*.py"))
    ]
    choices = {name: kind for module in modules for name, kind in _choices(module)}
    for module in modules:
        for node in module.body:
            if isinstance(node, ast.ClassDef) and _is_dataclass(node):
                fields = tuple(_fields(node, choices))
                yield Settings(node.name, _one_line(ast.get_docstring(node)), fields)


def _choices(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that a module gives to `Literal` types, and what they stand for."""
    for node in module.body:
        if isinstance(node, ast.Assign) and "Literal[" in ast.unparse(node.value)[:8]:
            yield ast.unparse(node.targets[0]), ast.unparse(node.value)


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def _fields(node: ast.ClassDef, choices: Mapping[str, str]) -> Iterator[Setting]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        meaning = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            meaning = _one_line(str(following.value.value))
        written = ast.unparse(statement.annotation)
        kind = re.sub(r"\w+", lambda word: choices.get(word[0], word[0]), written)
        default = _default(statement.value)
        yield Setting(statement.target.id, kind.replace("|", "\\|"), default, meaning)


def _default(value: ast.expr | None) -> str:
    """The default as written; nothing for a required field or a nested table."""
    if value is None or "default_factory" in ast.unparse(value):
        return ""
    return ast.unparse(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    is_check = parser.parse_args().check
    stale = []
    for name, page in (("cli.md", cli_page()), ("config.md", config_page())):
        path = REFERENCE / name
        if path.is_file() and path.read_text(encoding="utf-8") == page:
            continue
        stale.append(name)
        if not is_check:
            path.write_text(page, encoding="utf-8")
    if is_check and stale:
        print(
            f"stale: {', '.join(stale)}; run python scripts/generate_reference.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
