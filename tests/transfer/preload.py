"""Imported in the process that quick sources are forked from."""

from __future__ import annotations

from tests.transfer.quick_peer import load_plugin

load_plugin()
