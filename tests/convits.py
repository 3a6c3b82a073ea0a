"""A small ConViT: two gated blocks and one more, D = 32, N = 4."""

from __future__ import annotations

import functools

import timm

SIZES = {"depth": 3, "local_up_to_layer": 2, "embed_dim": 8, "num_heads": 4, "img_size": 32}
small_network = functools.partial(timm.create_model, "convit_tiny", num_classes=0, **SIZES)
