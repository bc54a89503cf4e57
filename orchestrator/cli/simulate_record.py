"""`pdctl simulate --from-record`: the decisions of a recorded front door, made again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.cli.documents import Document, single
from orchestrator.cli.errors import CliError, ExitCode, usage
from orchestrator.cli.output import Form, Table, dump, pairs
from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.decisions import Admission, Placement
from orchestrator.recording.reader import RecordError
from orchestrator.simulator.from_record import DECISIONS, Difference, RecordReport, replay_record


def from_record_command(path: Path, overrides: Sequence[str] = (), output: Form = Form.TABLE) -> int:
    """Decide a record again; with overrides `DECISION=NAME[,KEY=VALUE…]` by other policies. Returns the exit code.

    1 if its own policies decide differently; with overrides differences are the answer, not a failure.
    """
    override = dict(_override(text) for text in overrides)
    try:
        report = replay_record(path, override)
    except RecordError as error:
        raise CliError(error.what, error.where, error.do) from None
    except ValueError as error:
        raise usage(str(error).replace("\n", "; "), "--policy", "see `pdctl get policies -o wide`") from None
    if output is not Form.TABLE:
        print(dump(single("RecordReport", _document(report)), output))
    else:
        _print(report)
    return ExitCode.FAILED if report.different and not override else ExitCode.OK


def _override(text: str) -> tuple[str, PolicyChoice]:
    decision, equals, rest = text.partition("=")
    name, *settings = rest.split(",")
    parameters = dict(setting.split("=", 1) for setting in settings if "=" in setting)
    if not equals or not name or len(parameters) < len(settings) or decision not in DECISIONS:
        do = f"write DECISION=NAME[,KEY=VALUE…], where DECISION is {' or '.join(DECISIONS)}"
        raise usage(f"{text!r} chooses no policy", "--policy", do)
    return decision, PolicyChoice(name, {key: _scalar(value) for key, value in parameters.items()})


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


def _document(report: RecordReport) -> Document:
    return {
        "path": str(report.path),
        "front_door": report.front_door,
        "version": report.tandem,
        "what_if": report.what_if,
        "decisions": report.decisions,
        "different": report.different,
        "elsewhere": report.elsewhere,
        "by_kind": {kind: asdict(count) for kind, count in report.counts.items()},
        "policies": [
            {"decision": p.decision, "name": p.name, "parameters": dict(p.parameters)} for p in report.policies
        ],
        "requests": report.requests,
        "missed": report.missed,
        "cut_after_line": report.cut_after_line,
        "first_differences": [
            {
                "number": d.number,
                "kind": d.kind,
                "requests": list(d.requests),
                "recorded": _result(d.recorded, d.workers),
                "replayed": _result(d.replayed, d.workers),
            }
            for d in report.first
        ],
    }


def _result(result: Placement | Admission, workers: Sequence[str]) -> Document:
    if isinstance(result, Admission):
        return {"admit": list(result.admit), "reason": str(result.reason)}
    worker = None if result.worker is None else workers[result.worker]
    return {
        "worker": worker,
        "reason": str(result.reason),
        "detail": result.detail,
        "co_locate": bool(result.co_locate),
    }


def _print(report: RecordReport) -> None:
    verdict = f"{report.different} different, {report.elsewhere} of them in what they chose"
    lines = [
        ("Record", f"{report.path} (of {report.front_door}, Tandem {report.tandem})"),
        ("Policies", ", ".join(_times(f"{p.decision}={_policy(p.name, p.parameters)}" for p in report.policies))),
        ("Decisions", f"{report.decisions}, {verdict if report.different else 'all alike'}"),
        ("Requests", f"{report.requests} ended"),
    ]
    if report.missed:
        lines.append(("Missed", f"{report.missed} decisions: the front door was faster than its disk"))
    if report.cut_after_line is not None:
        lines.append(("Ends", f"after line {report.cut_after_line}: the front door runs, or was killed while it wrote"))
    pairs(lines)
    print()
    rows = [
        [kind, str(count.same), str(count.different), str(count.elsewhere)] for kind, count in report.counts.items()
    ]
    Table(["DECISION", "SAME", "DIFFERENT", "ELSEWHERE"]).print(rows)
    if report.first:
        print()
        shown = [[str(d.number), d.kind, _who(d), _words(d, d.recorded), _words(d, d.replayed)] for d in report.first]
        Table(["NUMBER", "DECISION", "REQUEST", "RECORDED", "REPLAYED"]).print(shown)


def _times(words: Any) -> list[str]:
    return [f"{word} ({n} times)" if n > 1 else word for word, n in Counter(words).items()]


def _policy(name: str, parameters: Any) -> str:
    return name + "".join(f",{key}={value}" for key, value in parameters.items())


def _who(difference: Difference) -> str:
    first, more = "".join(difference.requests[:1]), len(difference.requests) - 1
    return f"{first} and {more} more" if more > 0 else first


def _words(difference: Difference, result: Placement | Admission) -> str:
    if isinstance(result, Admission):
        return f"{len(result.admit)} start: {result.reason}"
    worker = "nobody" if result.worker is None else difference.workers[result.worker]
    return f"{worker}: {result.reason}" + (f" ({result.detail})" if result.detail else "")
