"""Tandem in front of a pair of vLLM servers against the simplest proxy in front of the same two."""
