"""ONNX Runtime, set up to compute the same on every processor."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from fakescan import protobuf
from fakescan.fast.file import Graph, Node
from fakescan.protobuf import whole_field

CPU = "CPUExecutionProvider"
SESSION_CONFIG = {
    # Threads that wait by spinning take the cores from the decoders; without, a scan on 2 cores
    # needs 25 % less processor time and no more wall-clock time.
    "session.intra_op.allow_spinning": "0",
    "session.disable_quant_qdq": "1",  # fakescan.session says why
    # A model that keeps tensors in a second file would read whatever lies in the working folder.
    "session.model_external_initializers_file_folder_path": os.devnull,
}
NO_OVERFLOW = "session.x64quantprecision"
"""Products of unsigned and signed bytes, whose sums of two may overflow, as those of unsigned ones,
whose sums cannot: exact, and half as fast where nothing would have overflowed."""
FATAL = 4
"""ONNX Runtime's highest severity: what matters comes back as an exception or a provider list."""
ROWS, DEPTH, COLUMNS = 4, 64, 16
"""Of the product that is tried."""
U8, S8, S32 = 2, 3, 6
"""Types of ONNX's tensors."""


def onnxruntime() -> Any:
    """The package, made quiet; imported here, so that what only names this pays nothing for it."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(FATAL)
    return onnxruntime


def version() -> str:
    """Such as 1.24.1; which fast forms can be used again depends on it."""
    return str(onnxruntime().__version__)


def described() -> str:
    """Name and version, for `--version` and reports."""
    return f"ONNX Runtime {version()}"


def session_options(threads: int | None = None) -> Any:
    """Options under which a graph computes the same on every processor, as fast as that allows.

    Args:
        threads: for one image; None leaves them to ONNX Runtime.
    """
    options = _options()
    if threads is not None:
        options.intra_op_num_threads = threads
    if sums_overflow():
        options.add_session_config_entry(NO_OVERFLOW, "1")
    return options


@cache
def sums_overflow() -> bool:
    """Whether products of unsigned and signed bytes are wrong here where sums get large.

    On x86 without VNNI, ONNX Runtime adds two products in 16 bits, which saturate. It cannot be
    asked; its own safeguard, NO_OVERFLOW, also slows down processors that have VNNI. So the largest
    product that there is, is tried, once in a process, which takes some 5 ms.
    """
    largest = np.full((ROWS, DEPTH), 255, np.uint8)
    options = _options()
    options.intra_op_num_threads = 1  # by itself it would start, and bind, one for every core
    session = onnxruntime().InferenceSession(_product(), options, providers=[CPU])
    (found,) = session.run(["y"], {"x": largest})
    return bool((found != 255 * 127 * DEPTH).any())


def _options() -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = FATAL
    for key, value in SESSION_CONFIG.items():
        options.add_session_config_entry(key, value)
    return options


def _product() -> bytes:
    """The file of y = x W, x of unsigned bytes, (ROWS, DEPTH), and W of signed ones, all 127."""
    node = Node("MatMulInteger", ["x", "w"], ["y"])
    infos = (11, "x", U8, (ROWS, DEPTH)), (12, "y", S32, (ROWS, COLUMNS))  # inputs 11, outputs 12
    rest = [protobuf.field(at, _info(name, kind, shape)) for at, name, kind, shape in infos]
    rest.append(protobuf.field(2, b"product"))
    versions = [whole_field(1, 8), protobuf.field(8, whole_field(2, 17))]  # IR 8, opset 17
    graph = Graph([node], {}, ["y"], rest, versions)
    graph.put("w", np.full((DEPTH, COLUMNS), 127, np.int8))
    return graph.to_bytes()


def _info(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto of a tensor."""
    sizes = b"".join(protobuf.field(1, whole_field(1, size)) for size in shape)
    tensor = whole_field(1, kind) + protobuf.field(2, sizes)
    return protobuf.field(1, name.encode()) + protobuf.field(2, protobuf.field(1, tensor))
