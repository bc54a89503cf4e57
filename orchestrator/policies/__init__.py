"""Policies: one package per decision, one policy per file. They do no I/O, read no clock and draw no random numbers."""
