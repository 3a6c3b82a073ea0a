"""The run's figures: a line of JSON for every step and epoch, and TensorBoard's event files.

{"kind": "step", "step": 7, "epoch": 0, "bce": ..., "load_balance": ..., "lr": ..., "usage": {}}
{"kind": "epoch", "step": 90, "epoch": 1, "validation": {...}, "usage": {...}, "is_best": true}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from torch.utils.tensorboard import SummaryWriter

Record = dict[str, Any]
FILE = "metrics.jsonl"


class Journal:
    """Appends records; drops those after the step that a resumed run goes on from."""

    def __init__(self, folder: Path, *, done_steps: int, done_epochs: int) -> None:
        """Open or create the journal.

        Args:
            folder: of the run.
            done_steps: of the state; later records come from work that was lost.
            done_epochs: likewise.
        """
        self.path = folder / FILE
        self.records = [
            r
            for r in read_journal(self.path)
            if r["step"] <= done_steps and (r["kind"] == "step" or r["epoch"] <= done_epochs)
        ]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(map(_line, self.records)), encoding="utf-8")
        partial.replace(self.path)
        self._stream = self.path.open("a", encoding="utf-8")
        self._events = SummaryWriter(
            folder / "tensorboard", purge_step=done_steps + 1 if done_steps else None
        )

    def add(self, kind: Literal["step", "epoch"], step: int, values: Record) -> None:
        """Write one record."""
        record = {"kind": kind, "step": step, **values}
        self.records.append(record)
        self._stream.write(_line(record))
        self._stream.flush()
        for name, value in _scalars("", values):
            self._events.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Finish the files."""
        self._stream.close()
        self._events.close()


def read_journal(path: Path) -> list[Record]:
    """Whole records of a journal, in order; a line cut short by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def _scalars(prefix: str, values: Record) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _scalars(f"{prefix}{name}/", value)
        elif isinstance(value, list):
            found += _scalars(f"{prefix}{name}/", {str(i): v for i, v in enumerate(value)})
        elif isinstance(value, (int, float)):
            found.append((f"{prefix}{name}", float(value)))
    return found
