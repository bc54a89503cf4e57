"""Harvesting: how much fine-tuning runs beside decode. `base.py` is the protocol; each file is a policy or a helper."""
