"""`fakescan config`: which settings apply, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Look at the settings of a scan.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `show` a word of its own."""


@app.command()
def show(
    file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings file.",
            show_default="the nearest fakescan.toml or pyproject.toml",
        ),
    ] = None,
) -> None:
    """Print every setting of a scan started here, with its value and where that comes from.

    What is printed is a settings file; settings at their default stand in it as comments.
    """
    from fakescan.cli import settings
    from fakescan.cli.scan import scan

    options = settings.options_of(scan)
    found = settings.given(options, file)
    rows = [
        (f"{name} = {_toml(found[name].value)}", found[name].origin)
        if name in found
        else (f"# {name} = {_toml(option.default)}", "default")
        for name, option in options.items()
    ]
    width = max(len(text) for text, _ in rows)
    for text, origin in rows:
        print(f"{text:<{width}}  # {json.dumps(origin, ensure_ascii=False)[1:-1]}")
    for name in settings.unknown_variables(options):
        print(f"# {name} is set, and is no setting")


def _toml(value: Any) -> str:
    """A value as TOML; `...` for one that the program chooses."""
    if value is None:
        return "..."
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else json.dumps(str(value))
