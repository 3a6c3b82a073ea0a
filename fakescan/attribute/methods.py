"""LoRAX and what it is compared with, each learning the same tasks from the same images.

LoRAX                an extractor a task, the classifier fitted around the old one
fine-tuning          one extractor, trained on and on with its classifier, same memory
fine-tuning, refitted   the same, its classifier fitted as LoRAX's is
linear probe         frozen features, regression on new images and the same memory
linear probe, around    the same, fitted around the old one as LoRAX's is: LoRAX without LoRA
nearest mean         frozen features, the class whose mean is nearest by angle
joint training       one extractor on all images of all tasks at once (oracle)
joint probe          frozen features, regression on all images at once (oracle)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fakescan.attribute.frozen import NearestMean, Probe
from fakescan.attribute.method import Method
from fakescan.attribute.scene import Scene
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.trained import FineTuning, Joint, Lorax


def methods(scene: Scene, settings: LearnSettings, *, has_oracles: bool) -> Sequence[Method]:
    """All of them; oracles see no order, so that one scene is enough for them."""
    torch.manual_seed(settings.seed)
    found: list[Method] = [
        Lorax(scene, settings),
        FineTuning(scene, settings),
        Probe(scene, settings, is_around=False),
        Probe(scene, settings, is_around=True),
        NearestMean(scene),
    ]
    if has_oracles:
        found += [
            Joint(scene, settings, has_adapter=True),
            Joint(scene, settings, has_adapter=False),
        ]
    return found
