"""How the output of a request is read for tool calls."""

from __future__ import annotations

from orchestrator.frontend.http.tool_use import ToolMode, ToolUse
from orchestrator.frontend.text.calls import ArgumentsReader, CallReader, CallsReader, TaggedReader, TextReader


def call_reader(tools: ToolUse | None) -> CallReader:
    """A fresh reader for one answer."""
    if tools is None:
        return TextReader()
    if tools.mode is ToolMode.NAMED:
        return ArgumentsReader(tools.name)
    return TaggedReader() if tools.mode is ToolMode.AUTO else CallsReader()
