"""Campaigns against a real cluster: processes are killed and stopped, clients vanish, load exceeds capacity."""
