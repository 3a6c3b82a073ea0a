"""Files and folders -> findings: walk, decode in child processes, score. Torch-free.

Nothing is imported here: the child processes start from `fakescan.scan.worker` and stay small.
"""
