"""Frequency: which clock a worker runs at. `base.py` is the protocol; each file is a policy or a helper."""
