"""Rebalancing: which running requests move. `base.py` is the protocol; each file is a policy or a helper."""
