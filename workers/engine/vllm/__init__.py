"""Stock vLLM behind a worker: its server in a process of its own, driven over its public HTTP surface."""
