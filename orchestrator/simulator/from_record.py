"""Makes the decisions of a live front door again, from its record, and says where they differ.

The policies of the record, with what they remembered, must decide alike, reason and detail included: "decide once, run
anywhere" holds for this cluster. Other policies show how many decisions they would have made differently. Each decision is
made from the snapshot that was recorded, so what a different decision would have led to is not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.core.cluster import Ints
from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.decisions import Admission, Placement
from orchestrator.core.request import BlockHashes, RequestView
from orchestrator.policies.registry import make
from orchestrator.policies.state import parameters, restore
from orchestrator.recording.entries import Admitted, Decision, DecodePlaced, PolicySet, PrefillPlaced, RequestEnded
from orchestrator.recording.reader import Record, RecordError

SHOWN = 10
"""Differences that a report keeps."""
KINDS: Mapping[type, str] = {PrefillPlaced: "place_prefill", DecodePlaced: "place_decode", Admitted: "admit"}
DECISIONS = ("routing", "admission")


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that came out otherwise. `number` counts decisions of the record from 1; `workers` name its rows."""

    number: int
    kind: str
    requests: tuple[str, ...]
    recorded: Placement | Admission
    replayed: Placement | Admission
    workers: tuple[str, ...] = ()


@dataclass(slots=True)
class Count:
    """Decisions of one kind. Of the different ones, `elsewhere` chose another worker or let other requests start.

    The rest of them differ in reason or detail only.
    """

    same: int = 0
    different: int = 0
    elsewhere: int = 0


@dataclass(slots=True)
class RecordReport:
    """What came of a record. `policies` are those that decided here, in order; `first` the first differences, with other
    policies (`what_if`) only those that chose elsewhere.

    `missed` decisions were not recorded; `cut_after_line` is set where the record was not written to its end.
    """

    path: Path
    front_door: str
    tandem: str
    what_if: bool = False
    counts: dict[str, Count] = field(default_factory=lambda: {kind: Count() for kind in KINDS.values()})
    policies: list[PolicySet] = field(default_factory=list)
    first: list[Difference] = field(default_factory=list)
    requests: int = 0
    missed: int = 0
    cut_after_line: int | None = None

    @property
    def decisions(self) -> int:
        return sum(count.same + count.different for count in self.counts.values())

    @property
    def different(self) -> int:
        return sum(count.different for count in self.counts.values())

    @property
    def elsewhere(self) -> int:
        return sum(count.elsewhere for count in self.counts.values())


def replay_record(path: Path, override: Mapping[str, PolicyChoice] | None = None) -> RecordReport:
    """Decide every decision of a record again, with other policies for the decisions in `override` (routing, admission).

    Raises RecordError for a record that cannot be read or whose policy does not exist here, ValueError for a wrong override.
    """
    record = Record(path)
    report = RecordReport(path, record.header.front_door, record.header.tandem, bool(override))
    policies = _Policies(override or {}, report)
    for entry in record:
        match entry:
            case PolicySet():
                policies.set(entry)
            case RequestEnded():
                report.requests += 1
            case _:
                _compare(entry, policies.decide(entry), report)
    report.cut_after_line = record.cut_after_line
    return report


class _Policies:
    """The policies in force, made anew: as recorded, or as the override says."""

    def __init__(self, override: Mapping[str, PolicyChoice], report: RecordReport) -> None:
        self._report = report
        self._other = {decision: choice.name for decision, choice in override.items()}
        self._in_force: dict[str, Any] = {}
        for decision, choice in override.items():
            if decision not in DECISIONS:
                raise ValueError(f"records hold no decisions of {decision}; use {' or '.join(DECISIONS)}")
            policy = self._in_force[decision] = make(decision, choice.name, choice.parameters)
            self._report.policies.append(PolicySet(decision, choice.name, parameters(policy), {}))

    def set(self, entry: PolicySet) -> None:
        self._report.missed += entry.missed
        other = self._other.get(entry.decision)
        if other is not None and other != entry.name:
            return
        try:
            if other is None:
                self._in_force[entry.decision] = make(entry.decision, entry.name, entry.parameters)
                self._report.policies.append(entry)
            restore(self._in_force[entry.decision], entry.state)
        except (ValueError, KeyError, TypeError) as error:
            what = f"cannot make its {entry.decision} policy {entry.name}: {error}"
            do = f"replay it with Tandem {self._report.tandem}, or choose a policy for {entry.decision}"
            raise RecordError(what.replace("\n", " "), str(self._report.path), do) from error

    def decide(self, entry: Decision) -> Placement | Admission:
        decision = "admission" if isinstance(entry, Admitted) else "routing"
        policy = self._in_force.get(decision)
        if policy is None:
            raise RecordError(f"a decision before its {decision} policy", str(self._report.path), "take a whole copy")
        match entry:
            case PrefillPlaced():
                held = _Held(entry.request, entry.held_blocks)
                return policy.place_prefill(entry.request, entry.view, held)  # type: ignore[no-any-return]
            case DecodePlaced():
                return policy.place_decode(entry.request, entry.view, entry.prefill_worker)  # type: ignore[no-any-return]
            case Admitted():
                numbers = (entry.running, entry.free_blocks, entry.block_tokens, entry.max_batch)
                return policy.admit(entry.queue, *numbers)  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Held:
    """A `PrefixIndex` that knows one request: the recorded one."""

    request: RequestView
    held_blocks: Ints

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        asked = len(block_hashes)
        known = n_workers == len(self.held_blocks) and np.array_equal(block_hashes, self.request.block_hashes[:asked])
        assert known, "a routing policy asked for the prefix of another request than it was to place"
        return np.minimum(self.held_blocks, asked)


def _compare(entry: Decision, replayed: Placement | Admission, report: RecordReport) -> None:
    kind = KINDS[type(entry)]
    count = report.counts[kind]
    if replayed == entry.result:
        count.same += 1
        return
    elsewhere = _choice(replayed) != _choice(entry.result)
    count.different += 1
    count.elsewhere += elsewhere
    if len(report.first) < SHOWN and (elsewhere or not report.what_if):
        requests = entry.queue if isinstance(entry, Admitted) else (entry.request,)
        workers = () if isinstance(entry, Admitted) else tuple(entry.view.names)
        ids = tuple(request.request_id for request in requests)
        report.first.append(Difference(report.decisions, kind, ids, entry.result, replayed, workers))


def _choice(result: Placement | Admission) -> object:
    """What a decision does, without why."""
    return result.admit if isinstance(result, Admission) else (result.worker, result.co_locate)
