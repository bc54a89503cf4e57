"""Multiplexing: how prefill and decode share an iteration. `base.py` is the protocol; each file is a policy or a helper."""
