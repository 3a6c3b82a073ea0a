"""The command line: the only code that knows typer and rich, prints, or picks exit codes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from importlib import import_module
from typing import Annotated

import typer

from fakescan.errors import FakescanError

COMMANDS = ("scan", "train", "export", "verify", "evaluate", "calibrate", "bench")
"""A module each, with a function of the same name."""
GROUPS = ("data", "config", "cache", "report", "lora", "attribute")
"""A module each, with a typer `app` of several commands."""

app = typer.Typer(
    name="fakescan",
    help="Tell AI-generated images from photographs, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BUG = 70
"""EX_SOFTWARE of sysexits.h. Python's own 1 would read as "found something"."""

_is_debugging: ContextVar[bool] = ContextVar("is_debugging", default=False)


def _register() -> None:
    """Add every command; their modules load what is heavy inside their functions."""
    for name in COMMANDS:
        app.command(name)(getattr(import_module(f"fakescan.cli.{name}"), name))
    for name in GROUPS:
        app.add_typer(import_module(f"fakescan.cli.{name}").app, name=name)


def _print_version(is_asked: bool) -> None:
    if not is_asked:
        return
    import fakescan
    from fakescan import runtime, weights

    known = weights.registry()
    print(f"fakescan {fakescan.__version__}")
    print(f"detector {known.default}, sha256 {known.entries[known.default].sha256}")
    print(runtime.described())
    raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Name the package, the detector with its sha256, and the runtime.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log what happens, and show an error's traceback.")
    ] = False,
) -> None:
    _is_debugging.set(debug)
    if debug:
        logging.basicConfig(level=logging.DEBUG)


_register()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the only place where an exception becomes an exit code."""
    try:
        app(arguments, prog_name="fakescan")  # also as `python -m fakescan`, for completion
    except FakescanError as e:
        if _is_debugging.get():
            raise
        from fakescan.report.table import visible

        print(f"fakescan: {visible(str(e))}", file=sys.stderr)
        return e.exit_code
    except SystemExit as e:  # typer's way of saying how it went
        return e.code if isinstance(e.code, int) else 0
    except Exception:  # noqa: BLE001  (nobody foresaw it)
        traceback.print_exc()
        print(
            "fakescan: this is a bug in fakescan; please report it with the lines above",
            file=sys.stderr,
        )
        return BUG
    return 0


def run() -> None:
    """What the `fakescan` script calls."""
    sys.exit(main())
