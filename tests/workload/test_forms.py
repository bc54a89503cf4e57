"""Forms of trace files: what is kept, what is left out, and that writing and reading are inverse."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator.workload.columns import FAILED
from orchestrator.workload.notes import Notes
from orchestrator.workload.reader import read_trace
from orchestrator.workload.schedule import Shape, arrivals, plan
from orchestrator.workload.trace import TraceError, TraceRequest
from orchestrator.workload.writer import FileForm, form_of, write_trace
from tests.workload.public import public

BURST = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def _requests(count: int) -> list[TraceRequest]:
    draw = random.Random(3)
    rows, at = [], 0.0
    for i in range(count):
        ids = tuple(draw.randrange(-(1 << 62), 1 << 62) for _ in range(draw.randrange(4)))
        tier = draw.choice([None, "interactive", "a,b", 'with "quotes"', "größer\nline"])
        rows.append(
            TraceRequest(at, draw.randrange(1 << 20), draw.randrange(5000), ids, tier, draw.choice([None, f"c{i}"]))
        )
        at += draw.expovariate(3) * draw.choice([1e-9, 1, 1e5])
    return rows


@pytest.mark.parametrize("form", FileForm)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_what_is_written_is_read_back(tmp_path: Path, form: FileForm, ending: str) -> None:
    file, rows = tmp_path / f"t.{form}{ending}", _requests(500)
    assert write_trace(rows, file, form_of(file)) == 500
    assert list(read_trace(file)) == rows
    assert [p.at_s for p in plan(Shape(str(file)))] == [row.arrival_s for row in rows]
    first = file.read_bytes()
    write_trace(read_trace(file), file, form)
    assert file.read_bytes() == first and [f.name for f in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("form", FileForm)
def test_requests_without_arrivals_stay_without(tmp_path: Path, form: FileForm) -> None:
    rows = [TraceRequest(None, 5, 0), TraceRequest(None, 0, 6, (1,), "t", "c")]
    write_trace(rows, tmp_path / "t", form)
    assert list(read_trace(tmp_path / "t")) == rows


def test_public_prefixes_survive(tmp_path: Path) -> None:
    source = public("mooncake_conversation_trace.jsonl.gz")
    write_trace(read_trace(source), tmp_path / "t.csv", FileForm.CSV)
    assert list(read_trace(tmp_path / "t.csv")) == list(read_trace(source))


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> object:
        yield TraceRequest(0.0, 1, 1)
        raise TraceError("bad", "there", "mend it")

    file = tmp_path / "t.jsonl"
    file.write_text("before")
    with pytest.raises(TraceError, match="mend it"):
        write_trace(broken(), file, FileForm.JSONL)  # type: ignore[arg-type]
    assert file.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TraceError, match="write it elsewhere"):
        write_trace([], tmp_path / "no" / "t", FileForm.JSONL)
    with pytest.raises(TraceError, match="no plain file"):
        write_trace([], Path("/dev/null"), FileForm.JSONL)


def test_burstgpt_failures_are_left_out_and_sessions_kept(tmp_path: Path) -> None:
    rows = [
        "5,s1,1,ChatGPT,472,18,490,Conversation log",
        "45,,2,GPT-4,300,0,300,API log",
        "118,s2,1,GPT-4,0,7,7,API log",
    ]
    (tmp_path / "t.csv").write_text(BURST + "\n".join(rows))
    notes = Notes()
    found = list(read_trace(tmp_path / "t.csv", notes))
    assert found == [TraceRequest(5.0, 472, 18, client="s1"), TraceRequest(118.0, 0, 7, client="s2")]
    assert notes.left_out == {FAILED: 1}
    planned = list(arrivals(Shape(str(tmp_path / "t.csv"), rate=2.0), notes=(again := Notes())))
    # A prompt has at least one token; the pass that measures the rate does not count failures again.
    assert [(p.at_s, p.input_tokens, p.client) for p in planned] == [(0.0, 472, "s1"), (0.5, 1, "s2")]
    assert again.left_out == {FAILED: 1}


def test_zero_tokens_count_as_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,0,0\n")
    (planned,) = plan(Shape(str(tmp_path / "t.csv")))
    assert (planned.input_tokens, planned.output_tokens, planned.clipped) == (1, 1, False)


def test_clocks_of_azure(tmp_path: Path) -> None:
    stamps = ("2024-05-10 23:59:59.999990+00:00", "2024-05-11 00:00:00.000001+00:00", "2024-05-11 03:00:00+03:00")
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(f"{s},1,1\n" for s in stamps))
    assert [row.arrival_s for row in read_trace(tmp_path / "t.csv")] == [0.0, 0.000011, 0.00001]
    assert [p.at_s for p in plan(Shape(str(tmp_path / "t.csv")))] == [0.0, 0.00001, 0.000011]


def test_parts_of_a_trace(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "arrival_s,input_tokens,output_tokens\n" + "".join(f"{100 + i},{i},1\n" for i in range(20))
    )

    def part(**change: float) -> list[tuple[float, int]]:
        shape = Shape(str(tmp_path / "t.csv"), **change)  # type: ignore[arg-type]
        return [(p.at_s, p.input_tokens) for p in arrivals(shape)]

    assert part(start_s=5, duration_s=3) == [(0.0, 5), (1.0, 6), (2.0, 7)]
    assert part(start_s=4.5, duration_s=10, skip=1, requests=2) == [(0.0, 6), (1.0, 7)]
    assert part(skip=18) == [(0.0, 18), (1.0, 19)]
    assert part(start_s=5, duration_s=3, rate=4.0) == [(0.0, 5), (0.25, 6), (0.5, 7)]
    assert part(start_s=5, requests=2, rate=float("inf")) == [(0.0, 5), (0.0, 6)]
    assert part(start_s=18, speedup=2.0) == [(0.0, 18), (0.5, 19)]


def test_generated_arrivals_have_the_part_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "num_prefill_tokens,num_decode_tokens\n" + "".join(f"{i + 1},1\n" for i in range(4000))
    )
    rows = plan(Shape(str(tmp_path / "t.csv"), rate=20.0, start_s=50.0, duration_s=100.0))
    assert len(rows) == pytest.approx(2000, abs=4 * 45) and rows[-1].at_s <= 100
    assert rows[0].input_tokens == pytest.approx(1000, abs=4 * 32)
