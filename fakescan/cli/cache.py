"""`fakescan cache`: the scores that scans keep."""

from __future__ import annotations

import typer

app = typer.Typer(help="Look at the scores that scans keep, or drop them.", no_args_is_help=True)


@app.command()
def info() -> None:
    """Say where the cache of scores is, how large it is, and what it holds."""
    from fakescan.fast import store
    from fakescan.report.table import visible
    from fakescan.scan.cache import contents_of, default_path

    path = default_path()
    contents = contents_of(path)
    print(f"{visible(str(path))}: {contents.bytes / 1e6:.1f} MB, {contents.files} files")
    for detector, count in contents.scores.items():
        print(f"{visible(detector)}: {count} scores")
    if size := store.kept_bytes():
        print(f"{visible(str(store.folder()))}: {size / 1e6:.1f} MB of fast forms")


@app.command()
def clear() -> None:
    """Remove the cache of scores, and fast forms; fetched detectors stay."""
    from fakescan.fast import store
    from fakescan.report.table import visible
    from fakescan.scan.cache import clear, default_path

    path = default_path()
    print(f"{visible(str(path))}: {(clear(path) + store.clear()) / 1e6:.1f} MB removed")
