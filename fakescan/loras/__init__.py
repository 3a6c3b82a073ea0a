"""LoRA files described by their weights alone: read, compare, index, search, cluster, attribute.

An adapter changes a layer by dW = scale * B A. Two files can hold the same dW in countless ways,
so files are compared by what dW is, never by A and B themselves. Torch-free.

Source: "A LoRA is Worth a Thousand Pictures", arXiv 2412.12048, for the idea; the descriptor
differs, see docs/explanation/lora-descriptor.md.
"""
