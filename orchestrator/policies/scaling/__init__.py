"""Scaling: how many workers each role has. `base.py` is the protocol; each file is a policy or a helper."""
