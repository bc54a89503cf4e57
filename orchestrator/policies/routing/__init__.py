"""Routing: which workers run a request. `base.py` is the protocol; each file is a policy or a helper."""
