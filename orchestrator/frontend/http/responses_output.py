"""The output items of a response as they grow, and the events that tell of it."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.text.calls import CallArguments, CallBegun, Event, Said

Told = tuple[str, dict[str, Any]]
"""A type of event, without its prefix `response.`, and its fields."""


class ResponseOutput:
    """One item is open at a time: a message or a function call."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self.items: list[dict[str, Any]] = []
        self._parts: list[str] = []
        self._open = False

    @property
    def speaking(self) -> bool:
        """A message is open."""
        return self._open and self.items[-1]["type"] == "message"

    def add(self, text: str) -> None:
        """More text of the open message, whose event the caller tells."""
        self._parts.append(text)

    def take(self, event: Event) -> list[Told]:
        """Add what was read from the output; returns the events of it."""
        match event:
            case Said(text):
                return self._say(text)
            case CallBegun(_, name):
                return [*self.close(), *self._begin_call(name)]
            case CallArguments(_, arguments):
                self._parts.append(arguments)
                return [("function_call_arguments.delta", self.where() | {"delta": arguments})]

    def finish(self, complete: bool) -> list[Told]:
        """The output is over; it has at least one item. The open item of one that was cut off is incomplete."""
        begun = [] if self.items else self._begin_message()
        return [*begun, *self.close("completed" if complete else "incomplete")]

    def close(self, status: str = "completed") -> list[Told]:
        """Complete the open item, if any."""
        if not self._open:
            return []
        self._open = False
        item, where, text = self.items[-1], self.where(), "".join(self._parts)
        item["status"] = status
        done = ("output_item.done", {"output_index": where["output_index"], "item": item})
        if item["type"] == "function_call":
            item["arguments"] = text
            return [("function_call_arguments.done", where | {"name": item["name"], "arguments": text}), done]
        part = _part(text)
        item["content"] = [part]
        in_part = where | {"content_index": 0}
        return [
            ("output_text.done", in_part | {"text": text, "logprobs": []}),
            ("content_part.done", in_part | {"part": part}),
            done,
        ]

    def _say(self, text: str) -> list[Told]:
        begun = []
        if not self.speaking:
            begun = [*self.close(), *self._begin_message()]
        self._parts.append(text)
        delta = self.where() | {"content_index": 0, "delta": text, "logprobs": []}
        return [*begun, ("output_text.delta", delta)]

    def _begin_message(self) -> list[Told]:
        item = {"id": self._id("msg"), "type": "message", "role": "assistant", "content": []}
        added = self._begin(item)
        return [added, ("content_part.added", self.where() | {"content_index": 0, "part": _part("")})]

    def _begin_call(self, name: str) -> list[Told]:
        call = {"type": "function_call", "call_id": self._id("call"), "name": name, "arguments": ""}
        return [self._begin({"id": self._id("fc"), **call})]

    def _begin(self, item: dict[str, Any]) -> Told:
        item["status"] = "in_progress"
        self.items.append(item)
        self._parts = []
        self._open = True
        # A copy, since the item goes on.
        return "output_item.added", {"output_index": len(self.items) - 1, "item": dict(item)}

    def where(self) -> dict[str, Any]:
        """The fields that name the last item."""
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._identity}_{len(self.items)}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
