"""Nodes to dataclasses. Goes on after a fault, so that one run reports every fault."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from orchestrator.core.config.choice import decode_choice
from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.config.reporter import Reporter, is_null, shown
from orchestrator.core.config.scalars import Wrong, convert, plain
from orchestrator.core.config.settings import Setting, items_of, optional, settings

BAD: Any = object()
"""What stands for a value that was reported as a problem."""


class Decoder(Reporter):
    """Builds sections."""

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
            return decode_choice(self, node, path) or BAD
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
