"""Traces and generators: which requests arrive when, and how long they are."""
