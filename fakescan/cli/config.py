"""`fakescan config`: which settings apply, and where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    from fakescan.config import literal
    from fakescan.report.table import visible

    options = settings.options_of(scan)
    found = settings.given(options, file)
    rows = [
        (f"{name} = {literal(found[name].value)}", found[name].origin)
        if name in found
        else (f"# {name} = {_default(option.default)}", "default")
        for name, option in options.items()
    ]
    width = max(len(text) for text, _ in rows)
    for text, origin in rows:
        print(f"{text:<{width}}  # {visible(origin)}")
    for name in settings.unknown_variables(options):
        print(f"# {visible(name)} is set, and is no setting")


def _default(value: object) -> str:
    from fakescan.config import literal

    return "chosen by the program" if value is None else literal(value)
