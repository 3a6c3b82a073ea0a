"""How fast this machine scans: the whole scan beside the detector alone, and where time goes."""
