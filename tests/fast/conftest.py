"""Tiny detectors as files."""

from __future__ import annotations

import onnx
import pytest

from fakescan.export.graph import build_graph
from towers import tiny_metadata, tiny_model


@pytest.fixture
def write(tmp_path):
    """Export a model; gives the file's path."""

    def write(model=None, precision="int8", form=None):
        model = model or tiny_model()
        path = tmp_path / f"{precision}.onnx"
        onnx.save(build_graph(model, tiny_metadata(model, precision), form), path)
        return path

    return write
