"""Recording on a live dispatcher: what real load decided is decided again, and nothing that matters is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.fleet import collect, fleet
from bench.prompts import mixed
from orchestrator.core.cluster import Role
from orchestrator.core.config import PolicyChoice
from orchestrator.core.exact import NotExact
from orchestrator.core.request import RequestState, RequestView
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.discovery import Discovery, Snapshot
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.text import TextModel
from orchestrator.policies.registry import make
from orchestrator.recording import form as form_module
from orchestrator.recording import log as log_module
from orchestrator.recording import policies as policies_module
from orchestrator.recording.entries import Admitted, PolicySet, PrefillPlaced
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.recording.reader import Record, RecordError, requests_of
from orchestrator.simulator.from_record import replay_record
from tests.dispatch.links import PROMPT, Link, dispatcher, status, submit, tokens
from workers.demo import MODEL_DIR

REQUESTS = 200
"""At 3 decisions or more each, well over 500."""


async def test_every_decision_under_real_load_is_decided_alike(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions-test.jsonl.gz", 10**6, "test")
    prompts = mixed(TextModel.load(MODEL_DIR), REQUESTS, seed=7, longest_output=16)
    roles = {"p0": "prefill", "p1": "prefill", "d0": "decode"}
    async with fleet(roles, routing="prefix_aware", record=log, kv_blocks=160) as running:
        slots = asyncio.Semaphore(32)

        async def one(i: int) -> int:
            async with slots:
                prompt = prompts[i]
                sampling = Sampling(max_tokens=prompt.max_tokens, temperature=0, ignore_eos=True)
                return len((await collect(running.dispatcher, f"r{i}", prompt.tokens, sampling))[0])

        outputs = await asyncio.gather(*(one(i) for i in range(REQUESTS)))
    log.close()
    report = replay_record(log.path)
    assert report.different == 0, report.first
    assert all(count.same >= REQUESTS * 0.9 for count in report.counts.values()), report.counts
    assert report.decisions >= 500
    assert (report.missed, report.cut_after_line, report.requests) == (0, None, REQUESTS)
    prefills = [entry for entry in Record(log.path) if isinstance(entry, PrefillPlaced)]
    assert {entry.result.reason for entry in prefills} >= {"prefix_hit", "prefix_miss"}
    trace = {entry.request_id: entry for entry in requests_of(log.path)}
    assert [trace[f"r{i}"].output_tokens for i in range(REQUESTS)] == outputs
    assert [trace[f"r{i}"].input_tokens for i in range(REQUESTS)] == [len(p.tokens) for p in prompts]
    assert [len(trace[f"r{i}"].prefix_ids) for i in range(REQUESTS)] == [len(p.tokens) // 512 for p in prompts]
    assert any(trace[f"r{i}"].prefix_ids for i in range(REQUESTS))
    other = replay_record(log.path, {"routing": PolicyChoice("round_robin")})
    assert other.different > 100


async def recorded_dispatcher(path: Path, limit: int = 1000) -> tuple[object, dict[str, Link], DecisionLog]:
    log = DecisionLog(path, limit, "test")
    made, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE, d1=Role.DECODE)
    made.record = log
    made.router.policy = recorded(make("routing", "prefix_aware"), log)
    made.admission = recorded(make("admission", "fcfs"), log)
    return made, links, log


async def test_a_request_that_ends_is_a_row_of_a_trace(tmp_path: Path) -> None:
    made, links, log = await recorded_dispatcher(tmp_path / "r.jsonl")
    submit(made, "a")
    key = links["p0"].last("submit").submit.key
    made.link_message(links["p0"], tokens(key, 0, 5, 6, finish="stop"))
    submit(made, "b")
    made.cancel("b")
    log.close()
    rows = list(requests_of(log.path))
    assert [(r.request_id, r.state, r.input_tokens, r.output_tokens) for r in rows] == [
        ("a", RequestState.FINISHED, len(PROMPT), 2),
        ("b", RequestState.CANCELLED, len(PROMPT), 0),
    ]
    views = {e.request.request_id: e.request for e in Record(log.path) if isinstance(e, PrefillPlaced)}
    assert [row.arrival_s for row in rows] == [views["a"].arrival_s, views["b"].arrival_s]
    assert rows[0].ttft_s is not None and rows[1].ttft_s is None


async def test_a_policy_that_is_replaced_is_recorded_with_what_it_remembers(tmp_path: Path) -> None:
    made, _, log = await recorded_dispatcher(tmp_path / "r.jsonl.gz")
    discovery = Discovery(None, Dispatchers([made]), "test")  # type: ignore[arg-type]
    submit(made, "a")
    await discovery.apply(Snapshot(1, {}, {}, {"routing": {"name": "least_load", "parameters": {}}}))
    for name in "bcd":
        submit(made, name)
    log.close()
    policies = [entry for entry in Record(log.path) if isinstance(entry, PolicySet)]
    assert [(p.decision, p.name) for p in policies] == [
        ("admission", "fcfs"),
        ("routing", "prefix_aware"),
        ("routing", "least_load"),
    ]
    assert policies[1].parameters == {"imbalance_tokens": 8192}
    report = replay_record(log.path)
    assert (report.decisions, report.different) == (12, 0)


async def test_the_limit_ends_decisions_but_not_the_requests_they_were_about(tmp_path: Path) -> None:
    made, _, log = await recorded_dispatcher(tmp_path / "r.jsonl.gz", limit=4)
    for name in "abc":
        submit(made, name)
    for name in "abc":
        made.cancel(name)
    log.close()
    assert replay_record(log.path).decisions == 4
    assert [row.request_id for row in requests_of(log.path)] == ["a", "b"]


async def test_what_the_writer_cannot_keep_up_with_is_counted_and_the_rest_still_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _, log = await recorded_dispatcher(tmp_path / "r.jsonl.gz")
    submit(made, "a")
    monkeypatch.setattr(log_module, "BACKLOG", 0)
    for name in "bc":
        submit(made, name)
    monkeypatch.setattr(log_module, "BACKLOG", 10**6)
    for name in "de":
        submit(made, name)
    log.close()
    report = replay_record(log.path)
    assert (report.decisions, report.different, report.missed) == (9, 0, 6)


async def test_a_policy_that_raises_leaves_a_record_that_agrees(tmp_path: Path) -> None:
    made, _, log = await recorded_dispatcher(tmp_path / "r.jsonl.gz")
    submit(made, "a")
    with pytest.raises(IndexError):
        made.router.place_decode(RequestView("bad", 40, 1, 0.0), 99)
    submit(made, "b")
    log.close()
    report = replay_record(log.path)
    assert (report.decisions, report.different, report.missed) == (6, 0, 1)


async def test_a_policy_whose_memory_has_no_form_decides_unrecorded(tmp_path, monkeypatch, caplog) -> None:
    def refuse(policy: object) -> None:
        raise NotExact("Odd._lock is a lock")

    made, links, log = await recorded_dispatcher(tmp_path / "r.jsonl.gz")
    monkeypatch.setattr(policies_module, "state", refuse)
    submit(made, "a")
    log.close()
    assert links["p0"].last("submit").submit.key.request_id == "a"
    assert not log.path.exists()
    assert "decisions of routing prefix_aware are not recorded: Odd._lock is a lock" in caplog.text


async def test_a_disk_that_is_full_ends_the_record_not_the_requests(tmp_path: Path, caplog) -> None:
    made, links, log = await recorded_dispatcher(tmp_path / "missing" / "r.jsonl.gz")
    submit(made, "a")
    log._thread.join(5)
    submit(made, "b")
    made.cancel("b")
    log.close()
    assert links["p0"].last("cancel").cancel.request_id == "b"
    assert "the record" in caplog.text and "ends here" in caplog.text
    assert not log.takes


def test_a_front_door_that_starts_again_overwrites_nothing(tmp_path: Path) -> None:
    names = []
    for i in range(3):
        log = DecisionLog(tmp_path / "decisions-d.jsonl.gz", 1, "d")
        recorded(make("admission", "fcfs"), log).admit([RequestView(f"r{i}", 40, 4, 0.0)], 0, 9, 16, 8)
        log.close()
        names.append(log.path.name)
    assert names == ["decisions-d.jsonl.gz", "decisions-d-2.jsonl.gz", "decisions-d-3.jsonl.gz"]
    admitted = [entry for name in names for entry in Record(tmp_path / name) if isinstance(entry, Admitted)]
    assert [entry.queue[0].request_id for entry in admitted] == ["r0", "r1", "r2"]


def test_without_a_record_policies_are_called_as_they_are() -> None:
    policy = make("routing", "prefix_aware")
    assert recorded(policy, None) is policy


def test_a_front_door_that_decides_nothing_leaves_no_file(tmp_path: Path) -> None:
    DecisionLog(tmp_path / "decisions-d.jsonl.gz", 1, "d").close()
    assert not list(tmp_path.iterdir())


def test_requests_that_never_end_are_forgotten_and_written_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(form_module, "MOST_OPEN", 2)
    monkeypatch.setattr(log_module, "MOST_OPEN", 2)
    log = DecisionLog(tmp_path / "r.jsonl", 100, "test")
    admission = recorded(make("admission", "fcfs"), log)
    requests = [RequestView(f"r{i}", 40, 4, float(i)) for i in range(4)]
    for request in [*requests, requests[0]]:
        admission.admit([request], 0, 9, 16, 8)
    assert [log.follows(request.request_id) for request in requests] == [True, False, False, True]
    log.close()
    assert sum('"kind":"arrival"' in line for line in log.path.read_text().splitlines()) == 5
    assert replay_record(log.path).different == 0


KILLED = """
import os, sys
from pathlib import Path
from orchestrator.core.request import RequestView
from orchestrator.policies.registry import make
from orchestrator.recording.entries import Admitted
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.recording.reader import Record, RecordError
log = DecisionLog(Path(sys.argv[1]), 10**6, "killed")
admission = recorded(make("admission", "fcfs"), log)
for i in range(50):
    admission.admit([RequestView(f"r{i}", 40, 4, float(i))], 0, 100, 16, 8)
def written():
    try:
        return sum(isinstance(entry, Admitted) for entry in Record(log.path))
    except RecordError:
        return 0
while written() < 50:
    pass
os.kill(os.getpid(), 9)
"""


def test_a_front_door_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl.gz"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -9
    report = replay_record(path)
    assert (report.decisions, report.different) == (50, 0)
    assert report.cut_after_line == 102


async def test_no_tokens_and_no_text_are_recorded(tmp_path: Path) -> None:
    made, _, log = await recorded_dispatcher(tmp_path / "r.jsonl")
    submit(made, "a")
    made.cancel("a")
    log.close()
    kinds = [json.loads(line) for line in log.path.read_text().splitlines()]
    expected = "header policy arrival admit policy place_prefill place_decode request"
    assert [line["kind"] for line in kinds] == expected.split()
    assert str(list(PROMPT))[1:-1].replace(" ", "") not in log.path.read_text().replace(" ", "")


async def test_a_record_cut_anywhere_is_read_up_to_there(tmp_path: Path) -> None:
    made, links, log = await recorded_dispatcher(tmp_path / "r.jsonl")
    for name in "ab":
        submit(made, name)
        made.link_message(links["p0"], status(used_blocks=3))
    log.close()
    whole, cut = log.path.read_bytes(), tmp_path / "cut.jsonl"
    decisions = [replay_record(log.path).decisions]
    for length in range(len(whole) - 1, whole.index(b"\n"), -7):
        cut.write_bytes(whole[:length])
        report = replay_record(cut)
        assert report.different == 0
        ends_in_a_line = not whole[:length].endswith(b"\n")
        assert report.cut_after_line == (whole[:length].count(b"\n") if ends_in_a_line else None)
        decisions.append(report.decisions)
    assert decisions == sorted(decisions, reverse=True)
    assert decisions[0] == 6 and decisions[-1] == 0
    cut.write_bytes(whole.replace(b'"worker":', b'"walker":'))
    with pytest.raises(RecordError, match=r"cut.jsonl:\d+; take an unchanged copy"):
        replay_record(cut)


def test_admitted_holds_the_queue_as_it_was(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "r.jsonl.gz", 10, "test")
    queue = [RequestView("a", 40, 4, 0.0), RequestView("b", 40, 4, 1.0)]
    recorded(make("admission", "fcfs"), log).admit(queue, 0, 3, 16, 8)
    queue.clear()
    log.close()
    (entry,) = [e for e in Record(log.path) if isinstance(e, Admitted)]
    assert [request.request_id for request in entry.queue] == ["a", "b"]
    assert (entry.result.admit, entry.result.reason) == ((0,), "kv_full")
