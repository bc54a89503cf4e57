"""Nodes to dataclasses. Goes on after a fault, so that one run reports every fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml

from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.config.problems import Problem, did_you_mean
from orchestrator.core.config.scalars import Wrong, convert, plain
from orchestrator.core.config.settings import Setting, items_of, optional, settings

BAD: Any = object()
"""What stands for a value that was reported as a problem."""


def shown(node: yaml.Node) -> str:
    """A node as messages show it."""
    if isinstance(node, yaml.ScalarNode):
        text = node.value if len(node.value) <= 80 else node.value[:77] + "..."
        return repr(text) if node.tag.endswith(":str") else text or "(empty)"
    return "{...}" if isinstance(node, yaml.MappingNode) else "[...]"


def is_null(node: yaml.Node) -> bool:
    """True for an empty value, `~` and `null`."""
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


class Decoder:
    """Builds sections and collects problems. `lines` maps the path of every field that was read to its line."""

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

    def section(self, kind: type, node: yaml.Node, path: str) -> Any:
        """A dataclass `kind`; faulty fields take their default. BAD if a required one is missing or faulty."""
        fields = {s.key: s for s in settings(kind)}
        values: dict[str, Any] = {}
        for key, child, at in self.entries(node, path):
            if key in fields:
                values[fields[key].name] = self.value(fields[key], child, at)
            else:
                known = [k for k in fields if fields[k].name not in values]
                self.report(at, shown(child), f"{path or 'the file'} has no field {key!r}", did_you_mean(key, known))
        if not isinstance(node, yaml.MappingNode) and not is_null(node):
            return BAD
        for s in fields.values():
            if s.required and s.name not in values:
                at = f"{path}.{s.key}"
                self.report(
                    at, "(missing)", "it is required", f"add `{s.key}: ...`: {s.rule.doc}", node.start_mark.line + 1
                )
                values[s.name] = BAD
        if any(values.get(s.name) is BAD for s in fields.values() if s.required):
            return BAD
        return kind(**{name: value for name, value in values.items() if value is not BAD})

    def value(self, s: Setting, node: yaml.Node, path: str) -> Any:
        """One field of a section, or BAD."""
        kind, nullable = optional(s.type)
        if is_null(node) and (nullable or dataclasses.is_dataclass(kind)) and not s.required:
            return s.default
        if kind is PolicyChoice:
            return self.policy(node, path)
        item = items_of(kind)
        if item is not None:
            return self.items(item, node, path)
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            return self.section(kind, node, path)
        return self.scalar(s, kind, node, path)

    def scalar(self, s: Setting, kind: Any, node: yaml.Node, path: str) -> Any:
        """A single value, or BAD."""
        if not isinstance(node, yaml.ScalarNode):
            self.report(path, shown(node), "it must be a single value", f"write `{s.key}: ...`: {s.rule.doc}")
            return BAD
        try:
            return convert(plain(node), kind, s.rule)
        except Wrong as wrong:
            self.report(path, shown(node), wrong.reason, wrong.remedy)
            return BAD

    def items(self, kind: type, node: yaml.Node, path: str) -> Any:
        """A list of sections with distinct names; BAD if it is no list or empty."""
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.report(path, shown(node), "it must be a list with at least one item", "write `- name: ...` below it")
            return BAD
        out: dict[str, Any] = {}
        for i, child in enumerate(node.value):
            at = f"{path}[{i}]"
            self.lines[at] = child.start_mark.line + 1
            item = self.section(kind, child, at)
            if item is BAD:
                continue
            if item.name in out:
                self.report(
                    f"{at}.name", repr(item.name), "the name is taken by an earlier item", "choose another name"
                )
            out[item.name] = item
        return tuple(out.values()) or BAD

    def policy(self, node: yaml.Node, path: str) -> Any:
        """`NAME` or `{name, parameters}`; parameters are checked against the catalog later."""
        if isinstance(node, yaml.ScalarNode):
            name = plain(node)
            if isinstance(name, str) and name:
                return PolicyChoice(name)
            self.report(path, shown(node), "it must be the name of a policy", "write `NAME` or `{name: NAME}`")
            return BAD
        values: dict[str, Any] = {"name": None, "parameters": {}}
        for key, child, at in self.entries(node, path):
            if key == "name" and isinstance(child, yaml.ScalarNode) and isinstance(plain(child), str):
                values["name"] = plain(child)
            elif key == "parameters":
                values["parameters"] = self.parameters(child, at)
            elif key == "name":
                self.report(at, shown(child), "it must be the name of a policy", "write text")
                values["name"] = BAD
            else:
                self.report(at, shown(child), f"a policy has no field {key!r}", "put it under `parameters:`")
        if values["name"] is None and isinstance(node, yaml.MappingNode):
            self.report(f"{path}.name", "(missing)", "it is required", "add `name: ...`, the name of a policy")
        return PolicyChoice(values["name"], values["parameters"]) if isinstance(values["name"], str) else BAD

    def parameters(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """Parameters by their YAML key, each a single value."""
        out: dict[str, Any] = {}
        if is_null(node):
            return out
        for key, child, at in self.entries(node, path):
            if isinstance(child, yaml.ScalarNode):
                out[key] = plain(child)
            else:
                self.report(
                    at, shown(child), "a parameter must be a single value", "write a number, text, true or false"
                )
        return out
