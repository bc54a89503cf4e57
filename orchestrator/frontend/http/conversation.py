"""A conversation on its way to the model's template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.frontend.http.tool_use import ToolMode, ToolUse
from orchestrator.frontend.text import InvalidRequest, TextModel


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` as templates take them. `tool_param` is the field of the first call or result of a tool among them."""

    messages: list[dict[str, Any]]
    tools: ToolUse | None = None
    tool_param: str | None = None

    def prompt(self, text: TextModel, add_generation_prompt: bool = True) -> str:
        """The text of the prompt; raises InvalidRequest where the model's template cannot express what is asked."""
        known = text.template_tools
        if self.tool_param is not None and not known.takes_tools:
            raise InvalidRequest(
                f"{self.tool_param!r}: this model's chat template has no place for calls and results of tools: "
                "put them into the content as text.",
                self.tool_param,
                "unsupported_field",
            )
        if self.tools is not None and self.tools.mode is ToolMode.AUTO and not known.tagged_calls:
            why = "has no tools" if not known.takes_tools else "writes tool calls in a notation that is not read here"
            raise InvalidRequest(
                f"'tool_choice' is \"auto\" and this model's chat template {why}, so it cannot choose: "
                'send "required" or a named function, or "none".',
                "tool_choice",
                "unsupported_field",
            )
        shown = self.tools.tools if self.tools is not None and known.takes_tools else None
        return text.render_chat(self.messages, shown, add_generation_prompt)
