"""The fast form of a detector's file: the same weights, multiplied in integers on the CPU.

It is made from the file alone, without torch and without the package onnx, and kept in
fakescan's folder for caches.
"""
