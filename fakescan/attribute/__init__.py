"""Which generator made an image: generators learnt one after another, one adapter a task.

Source: "LoRAX: LoRA eXpandable Networks for Continual Synthetic Image Attribution", arXiv
2504.08149. What differs is said where it differs, and in docs/explanation/attribution.md.
"""
