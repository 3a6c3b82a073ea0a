"""Labelled folders -> samples; random views; aligned pairs; the audit of file properties."""
