"""A record is decided again: alike by its own policies, otherwise by others, and never silently wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cli.errors import CliError
from orchestrator.cli.output import Form
from orchestrator.cli.simulate_record import from_record_command
from orchestrator.core.cluster import Role
from orchestrator.core.config import PolicyChoice
from orchestrator.core.request import RequestState, RequestView
from orchestrator.policies.registry import available, make
from orchestrator.recording.entries import PolicySet, PrefillPlaced, RequestEnded
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.recording.reader import Record, RecordError, requests_of
from orchestrator.routing.router import Report, Router
from orchestrator.simulator.from_record import replay_record
from orchestrator.workload.reader import read_trace
from orchestrator.workload.trace import TraceError

REQUESTS = 60


def drive(log: DecisionLog, routing: str, queue: str = "fcfs") -> None:
    """A router and a queue under load: prefixes recur, blocks run out, requests come and go."""
    rng = np.random.default_rng(3)
    now = [100.0]
    router = Router(recorded(make("routing", routing), log), clock=lambda: now[0])
    admission = recorded(make("admission", queue), log)
    for name, role in (("p0", Role.PREFILL), ("p1", Role.PREFILL), ("d0", Role.DECODE), ("d1", Role.DECODE)):
        router.set_worker(name, role, True)
        router.report(name, Report(0, 0, 0, 0, 0, 300, 16, 0.002))
    for i in range(REQUESTS):
        now[0] += float(rng.exponential())
        tokens = int(rng.integers(1, 400))
        hashes = (np.arange(tokens // 16) + 1000 * rng.integers(0, 3)).astype(np.uint64)
        request = RequestView(f"r{i}", tokens, 32, now[0], block_hashes=hashes)
        admission.admit([request], i % 5, int(router.view.free_blocks().sum()), 16, 4)
        prefill = router.place_prefill(request)
        decode = router.place_decode(request, prefill.worker)
        if prefill.worker is None or decode.worker is None:
            router.settle(*router.ledger.request_ids())
            continue
        name = router.view.names[prefill.worker]
        router.account(request, name, Role.PREFILL)
        router.account(request, router.view.names[decode.worker], Role.DECODE)
        router.cache_events(name, hashes.tolist(), [])
        if i % 3 == 0:
            router.settle(f"r{i - 2}")
            ids = (2**64 - 1, 5) if i < 9 else (7,)
            # In the order of their ends, which is not that of their arrivals.
            arrival_s = now[0] - 10 * (i % 2)
            log.ended(RequestEnded(f"r{i}", "default", RequestState.FINISHED, arrival_s, tokens, 32, prefix_ids=ids))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    log = DecisionLog(tmp_path / "decisions.jsonl.gz", 10**6, "door")
    drive(log, "prefix_aware")
    log.close()
    return log.path


@pytest.mark.parametrize("queue", [info.name for info in available("admission")])
@pytest.mark.parametrize("routing", [info.name for info in available("routing")])
def test_its_own_policies_decide_alike(tmp_path: Path, routing: str, queue: str) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl.gz", 10**6, "door")
    drive(log, routing, queue)
    log.close()
    report = replay_record(log.path)
    assert report.different == 0, report.first
    assert {kind: count.same for kind, count in report.counts.items()} == {
        "place_prefill": REQUESTS,
        "place_decode": REQUESTS,
        "admit": REQUESTS,
    }
    assert (report.front_door, report.requests) == ("door", len(list(requests_of(log.path))))


def test_what_a_policy_remembered_matters(record: Path) -> None:
    """Recording begins late, when turns have been taken: without its state the policy would decide otherwise."""
    lines = [json.loads(line) for line in gzip.decompress(record.read_bytes()).splitlines()]
    for line in lines:
        if line["kind"] == "policy" and line["decision"] == "routing":
            line["state"]["_least_load"]["fields"]["_decode_turn"] += 1
    record.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    report = replay_record(record)
    assert report.counts["place_decode"].different > 0
    assert report.counts["place_prefill"].different == report.counts["admit"].different == 0


def test_a_reason_or_detail_that_differs_is_a_difference(record: Path) -> None:
    text = gzip.decompress(record.read_bytes()).decode()
    changed = text.replace('"reason":"prefix_hit"', '"reason":"prefix_miss"', 1).replace(' waiting"', ' wait1ng"', 2)
    record.write_bytes(gzip.compress(changed.encode()))
    report = replay_record(record)
    assert 2 <= report.different <= 3
    assert report.elsewhere == 0
    first = report.first[0]
    assert (first.kind, first.recorded.reason) == ("place_prefill", first.replayed.reason)
    assert "wait1ng" in first.recorded.detail and "waiting" in first.replayed.detail


def test_other_policies_show_what_would_differ(record: Path) -> None:
    other = replay_record(record, {"routing": PolicyChoice("round_robin")})
    assert other.counts["place_prefill"].different == REQUESTS
    assert REQUESTS / 4 < other.counts["place_prefill"].elsewhere < REQUESTS
    assert all(d.recorded.worker != d.replayed.worker for d in other.first)
    assert other.counts["admit"].different == 0
    assert [p.name for p in other.policies] == ["round_robin", "fcfs"]
    assert replay_record(record, {"routing": PolicyChoice("prefix_aware")}).different == 0
    strict = replay_record(record, {"routing": PolicyChoice("prefix_aware", {"imbalance_tokens": 0})})
    assert 0 < strict.counts["place_prefill"].different < REQUESTS
    assert strict.counts["place_decode"].different == 0


def test_a_policy_that_looks_at_prefixes_can_be_tried_on_one_that_did_not(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl.gz", 10**6, "door")
    drive(log, "least_load")
    log.close()
    held = [entry.held_blocks.max() for entry in Record(log.path) if isinstance(entry, PrefillPlaced)]
    assert max(held) > 0
    assert replay_record(log.path, {"routing": PolicyChoice("prefix_aware")}).counts["place_prefill"].different > 0


def test_the_command_prints_a_table_and_a_document(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_record_command(record) == 0
    out = capsys.readouterr().out
    assert f"{3 * REQUESTS}, all alike" in out and "admission=fcfs" in out
    assert from_record_command(record, ["routing=prefix_aware,imbalanceTokens=0"], Form.JSON) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "RecordReport" and document["what_if"] is True
    assert document["different"] == document["by_kind"]["place_prefill"]["different"] > 0
    assert document["elsewhere"] == document["by_kind"]["place_prefill"]["elsewhere"] > 0
    assert document["first_differences"][0]["replayed"]["reason"] == "prefix_imbalanced"
    assert document["first_differences"][0]["replayed"]["worker"] in ("p0", "p1")


def test_differences_without_another_policy_fail_the_command(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = gzip.decompress(record.read_bytes()).decode().replace('"reason":"prefix_hit"', '"reason":"prefix_miss"')
    record.write_bytes(gzip.compress(text.encode()))
    assert from_record_command(record) == 1
    out = capsys.readouterr().out
    assert "different" in out and "prefix_miss" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routing", "'routing' chooses no policy; --policy; write DECISION=NAME"),
        ("scaling=static", "'scaling=static' chooses no policy"),
        ("routing=least_load,x", "chooses no policy"),
        ("routing=prefix_awar", "there is no routing policy 'prefix_awar'; did you mean 'prefix_aware'"),
        ("routing=prefix_aware,imbalanceTokens=-1", "imbalance"),
    ],
)
def test_a_wrong_override_is_wrong_usage(record: Path, text: str, message: str) -> None:
    with pytest.raises(CliError, match=message) as error:
        from_record_command(record, [text])
    assert error.value.code == 2 and "\n" not in str(error.value)


def rewritten(record: Path, path: Path, **changes: object) -> Path:
    """The record with fields of its header, or of its policies where they have them, changed."""
    lines = [json.loads(line) for line in gzip.decompress(record.read_bytes()).splitlines()]
    for line in lines:
        if line["kind"] in ("header", "policy"):
            line.update({key: value for key, value in changes.items() if key in line})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_bad_file_is_one_line_that_says_what_to_do(record: Path, tmp_path: Path) -> None:
    other, empty, bad = tmp_path / "trace.jsonl", tmp_path / "empty", tmp_path / "bad.gz"
    other.write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}\n')
    empty.write_text("")
    bad.write_bytes(b"\x1f\x8bnot gzip at all")
    damaged = tmp_path / "damaged.gz"
    data = bytearray(record.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    damaged.write_bytes(data)
    for path, message in [
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (other, "no record of decisions"),
        (empty, "no record of decisions"),
        (bad, "cannot read the record"),
        (damaged, "cannot read the record|not a line of a record"),
        (rewritten(record, tmp_path / "v", version=9), "record of version 9, this reads 1"),
        (rewritten(record, tmp_path / "f", format="x"), "no record of decisions"),
        (rewritten(record, tmp_path / "n", name="gone"), "there is no admission policy 'gone'"),
        (rewritten(record, tmp_path / "s", state={"_x": 1}), "remembers nothing"),
    ]:
        with pytest.raises(CliError, match=message) as error:
            from_record_command(path)
        assert error.value.code == 1 and "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_record_without_its_policies_is_refused(record: Path, tmp_path: Path) -> None:
    lines = gzip.decompress(record.read_bytes()).decode().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_text("".join(line for line in lines if '"kind":"policy"' not in line))
    with pytest.raises(RecordError, match="a decision before its admission policy"):
        replay_record(tmp_path / "cut.jsonl")


def test_a_record_is_a_trace(record: Path) -> None:
    trace = list(read_trace(record))
    ended = sorted(requests_of(record), key=lambda request: request.arrival_s)
    assert [(t.arrival_s, t.input_tokens, t.output_tokens, t.tier) for t in trace] == [
        (r.arrival_s, r.input_tokens, r.output_tokens, r.tier) for r in ended
    ]
    assert ended != list(requests_of(record))
    assert [t.prefix_ids for t in trace][:4] == [(0, 1), (2,), (2,), (0, 1)]
    cut = record.with_suffix(".cut")
    cut.write_bytes(record.read_bytes()[:-200])
    assert 0 < len(list(read_trace(cut))) <= len(trace)
    cut.write_text(gzip.decompress(record.read_bytes()).decode().replace('"arrival_s"', '"arrival"'))
    with pytest.raises(TraceError, match=r"not a line of a record: .*; .*cut:\d+; take an unchanged copy"):
        list(read_trace(cut))


def test_entries_come_back_as_they_were_written(record: Path) -> None:
    entries = list(Record(record))
    policies = [entry for entry in entries if isinstance(entry, PolicySet)]
    assert [(p.decision, p.name, p.missed) for p in policies] == [
        ("admission", "fcfs", 0),
        ("routing", "prefix_aware", 0),
    ]
    first = next(entry for entry in entries if isinstance(entry, PrefillPlaced))
    assert first.view.names == ["p0", "p1", "d0", "d1"]
    assert first.view.time_s > 100 and first.view.age_s.tolist() == [first.view.time_s - 100.0] * 4
