"""Reads mappings and collects problems: what every part of the decoder stands on."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from orchestrator.core.config.problems import Problem


def shown(node: yaml.Node) -> str:
    """A node as messages show it."""
    if isinstance(node, yaml.ScalarNode):
        text = node.value if len(node.value) <= 80 else node.value[:77] + "..."
        return repr(text) if node.tag.endswith(":str") else text or "(empty)"
    return "{...}" if isinstance(node, yaml.MappingNode) else "[...]"


def is_null(node: yaml.Node) -> bool:
    """True for an empty value, `~` and `null`."""
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


class Reporter:
    """Collects problems. `lines` maps the path of every field that was read to its line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def report(self, path: str, value: str, reason: str, remedy: str, line: int | None = None) -> None:
        """Add a problem, by default on the line of `path` or of its nearest ancestor that was read."""
        if line is None:
            at = path
            while at and at not in self.lines:
                at = at[: max(at.rfind("."), at.rfind("["), 0)]
            line = self.lines.get(at, 1)
        self.problems.append(Problem(self.file, line, path or "file", value, reason, remedy))

    def entries(self, node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node, str]]:
        """(key, value node, path) of a mapping; reports what is no mapping, and keys that repeat."""
        if is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            hint = "write `key: value` lines below it, indented"
            self.report(path, shown(node), "it must be a mapping", hint, node.start_mark.line + 1)
            return
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else shown(key)
            at = f"{path}.{name}" if path else name
            if key.tag.endswith(":merge"):
                self.report(at, shown(value), "merge keys are not supported", "write the fields out", line)
            elif name in first:
                self.report(at, shown(value), f"it repeats line {first[name]}", "keep one of the two", line)
            else:
                first[name] = self.lines[at] = line
                yield name, value, at
