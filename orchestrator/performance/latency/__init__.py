"""Latency models: one file each, all with the interface of `base`."""
