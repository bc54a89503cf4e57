"""Imported in the process that the others are forked from."""

from __future__ import annotations

from tests.transfer.forked import load_plugin

load_plugin()
