"""Training: labelled images in; checkpoint, calibration and metrics out."""
