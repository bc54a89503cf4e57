"""YAML text to a tree of nodes that know their lines."""

from __future__ import annotations

from pathlib import Path

import yaml

from orchestrator.core.config.problems import ConfigError, Problem

MAX_BYTES = 1 << 20
_START = "start with `apiVersion: pd/v1` and `kind: Cluster` (see examples/laptop.yaml)"


def read(path: Path) -> str:
    """The text of a configuration file; raises ConfigError if it cannot be read."""

    def fail(value: str, reason: str, remedy: str) -> ConfigError:
        return ConfigError([Problem(str(path), 1, "file", value, reason, remedy)])

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise fail(repr(str(path)), "there is no such file", "check the path, or copy examples/laptop.yaml") from None
    except IsADirectoryError:
        raise fail(
            repr(str(path)), "it is a directory", f"name a file in it, such as {path / 'cluster.yaml'}"
        ) from None
    except OSError as error:
        raise fail(repr(str(path)), f"it cannot be read ({error.strerror})", "check its permissions") from None
    if len(data) > MAX_BYTES:
        raise fail(f"of {len(data)} bytes", f"it is larger than {MAX_BYTES} bytes", "check that this is the right file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            [Problem(str(path), line, "file", f"byte {data[error.start]:#04x}", "it is not UTF-8", "save it as UTF-8")]
        ) from None


def compose(text: str, file: str) -> yaml.Node:
    """The root node of one YAML document; raises ConfigError if `text` is empty, broken or holds several documents."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source = text.splitlines()[line - 1].strip() if line <= len(text.splitlines()) else "(end of file)"
        reason = "it is not valid YAML: " + " ".join(p for p in (error.context, error.problem) if p)
        raise ConfigError(
            [Problem(file, line, "file", repr(source), reason, _yaml_remedy(str(error.problem)))]
        ) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(
            [
                Problem(
                    file, line, "file", f"character {error.character!r}", "YAML allows no such character", "delete it"
                )
            ]
        ) from None
    except RecursionError:
        raise ConfigError([Problem(file, 1, "file", "(nested)", "it is nested too deeply", _START)]) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        raise ConfigError([Problem(file, 1, "file", "(empty)", "it holds no configuration", _START)])
    return root


def _yaml_remedy(problem: str) -> str:
    if "'\\t'" in problem:
        return "indent with spaces, not tabs"
    if "another document" in problem:
        return "keep one document and remove the `---` between them"
    if "mapping values are not allowed" in problem:
        return "put quotes around text that holds ': ', and check the indentation"
    if "undefined alias" in problem:
        return "define the anchor before the alias, or put quotes around text that starts with '*'"
    return "check indentation, quotes and brackets on this line and the one before"
