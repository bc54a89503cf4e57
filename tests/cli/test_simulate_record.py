"""`pdctl simulate --from-record`: what a user sees of a record, and of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.request import RequestView
from orchestrator.policies.registry import make
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded


@pytest.fixture
def record(tmp_path: Path) -> Path:
    log = DecisionLog(tmp_path / "decisions-front-door-0.jsonl", 100, "front-door-0")
    admission = recorded(make("admission", "fcfs"), log)
    for i in range(5):
        admission.admit([RequestView(f"r{i}", 40, 4, float(i)), RequestView(f"s{i}", 40, 4, float(i))], 0, 5, 16, 8)
    log.close()
    return log.path


def test_a_record_that_agrees(pdctl, record):
    done = pdctl("simulate", "--from-record", str(record))
    assert done.code == 0, done.err
    assert "5, all alike" in done.out and "admission=fcfs" in done.out


def test_a_record_that_does_not(pdctl, record):
    record.write_text(record.read_text().replace('"kv_full"', '"batch_full"'))
    done = pdctl("simulate", "--from-record", str(record))
    assert done.code == 1
    assert "5 different, 0 of them in what they chose" in done.out
    assert "r0 and 1 more" in done.out and "1 start: batch_full" in done.out
    assert pdctl("simulate", "--from-record", str(record), "--policy", "admission=fcfs", "-o", "json").code == 0


def test_mistakes_are_one_line(pdctl, record, tmp_path):
    missing = pdctl("simulate", "--from-record", str(tmp_path / "missing"))
    assert missing.code == 1
    assert missing.err.startswith("error: cannot read the record: No such file") and missing.err.count("\n") == 1
    wrong = pdctl("simulate", "--from-record", str(record), "--policy", "scaling=static")
    assert wrong.code == 2
    assert "DECISION is routing or admission" in wrong.err and wrong.err.count("\n") == 1
