"""Calibration and thresholds: of a training run, and of a detector on images of your own."""
