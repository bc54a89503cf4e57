"""Admission: which waiting requests may start. `base.py` is the protocol; each file is a policy or a helper."""
