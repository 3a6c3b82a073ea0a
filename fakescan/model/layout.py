"""How the tensors of a detector are named and laid out in an exported file.

Names are those of the torch model: the tower's as open_clip has them
(`transformer.resblocks.0.mlp.c_fc.weight`), `experts.K.SITE.lora_A` and so on, `head.weight` and
`head.bias` with the standardisation folded in. Matrices that torch keeps as (d_out, d_in) are
stored as (d_in, d_out), as `MatMul` wants them; all others as torch has them. An int8 matrix has
a second tensor beside it, its name and `SCALE_SUFFIX`: one float32 factor per output channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCALE_SUFFIX = ".scale"
AS_IN_TORCH = ("positional_embedding", "proj")
"""Tensors of two axes that are not the weight of a `nn.Linear` or alike."""


def swap(name: str, value: NDArray[np.float32]) -> NDArray[np.float32]:
    """From torch's layout to the file's, and back."""
    is_swapped = value.ndim == 2 and name not in AS_IN_TORCH
    return np.ascontiguousarray(value.T) if is_swapped else value


def dequantise(q: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """(d_in, d_out) and scales (d_out,) -> (d_in, d_out), as `DequantizeLinear` computes it."""
    return q.astype(np.float32) * scale
