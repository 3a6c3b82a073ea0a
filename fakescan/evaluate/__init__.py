"""How good scores are: metrics with intervals, for any scorer. NumPy only."""
