"""The torch side: frozen tower, low-rank experts, heads, and the detector made of them."""
