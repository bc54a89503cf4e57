"""Reading traces, and turning them into a schedule."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest

from orchestrator.replay.prompts import Prompts
from orchestrator.workload.reader import read_trace
from orchestrator.workload.schedule import Planned, Shape, plan
from orchestrator.workload.trace import TraceError, TraceRequest

PUBLIC = Path(__file__).parents[3] / "shared" / "traces"

FORMS = {
    "azure": ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n", (374, 44)),
    "servegen": ("arrival_s,client_id,input_tokens,output_tokens,reason_tokens\n0.5,35,97,1637,1415\n", (97, 1637)),
    "lengths": ("arrival_time_ns,input_toks,output_toks\n500000000,2358,531\n", (2358, 531)),
    "vidur": ("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.8\n", (3772, 54)),
    "vidur arrivals": ("arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,3772,54\n", (3772, 54)),
    "splitwise": (
        "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n0,2,0,1,1,4096,32\n",
        (4096, 32),
    ),
    "burstgpt": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,x\n",
        (472, 18),
    ),
    "mooncake": ('{"timestamp": 500, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n', (6758, 500)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_forms_are_recognised(tmp_path: Path, form: str, packed: bool) -> None:
    text, lengths = FORMS[form]
    file = tmp_path / "trace"
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (row,) = read_trace(file)
    assert (row.input_tokens, row.output_tokens) == lengths
    assert (row.arrival_s is None) == (form == "vidur")


def test_units_of_arrivals(tmp_path: Path) -> None:
    for form in ("servegen", "lengths", "vidur arrivals", "mooncake"):
        file = tmp_path / "trace"
        file.write_text(FORMS[form][0])
        assert next(read_trace(file)).arrival_s == 0.5


def test_shipped_sample() -> None:
    rows = list(read_trace("sample"))
    assert len(rows) >= 60 and rows[0] == TraceRequest(rows[0].arrival_s, 374, 44)


@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("azure_llm_2023_conv.csv.gz", 19366, (374, 44)),
        ("azure_llm_2023_code.csv.gz", 8819, (4808, 10)),
        ("mooncake_conversation_trace.jsonl.gz", 12031, (6758, 500)),
        ("vidur_arxiv_summarization_llama2.csv.gz", 28257, (3772, 54)),
        ("llmservingsim_sharegpt_llama_31_8b_300_sps10_lengths.csv.gz", 300, (2358, 531)),
        ("derived_servegen_deepseek_r1_1h_sample.csv.gz", 45817, (97, 1637)),
        ("splitwise_sim_test_trace.csv.gz", 3, (4096, 32)),
    ],
)
def test_public_traces(name: str, rows: int, first: tuple[int, int]) -> None:
    if not (PUBLIC / name).exists():
        pytest.skip(f"the public trace {name} is not on this machine")
    head, *rest = read_trace(PUBLIC / name)
    assert (head.input_tokens, head.output_tokens) == first and len(rest) + 1 == rows


BAD = {
    "no columns known": ("a,b\n1,2\n", ":1", "ContextTokens"),
    "rates": ("client_id,window_start_s,rate_rps,cv\n0,0,1,1\n", ":1", "rates per client"),
    "empty": ("", ":1", "at least one request"),
    "negative": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5,4\n2023-11-16 18:15:47,-3,4\n",
        ":3",
        "remove",
    ),
    "fraction": ("arrival_s,input_tokens,output_tokens\n0,1.5,4\n", ":2", "remove"),
    "no time": ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,5,4\n", ":2", "is not a time"),
    "short line": ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5\n", ":2", "2 of 3 columns"),
    "broken JSON": (
        '{"timestamp": 0, "input_length": 5, "output_length": 4}\n{"timest\n',
        ":2",
        "one JSON object per line",
    ),
    "other JSON": ('{"prompt": "hello"}\n', ":1", "input_length"),
    "bad hash ids": ('{"timestamp": 0, "input_length": 5, "output_length": 4, "hash_ids": "x"}\n', ":1", "hash_ids"),
    "bad timestamp": ('{"timestamp": "0", "input_length": 5, "output_length": 4}\n', ":1", "milliseconds"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_traces_name_line_and_remedy(tmp_path: Path, case: str) -> None:
    text, line, remedy = BAD[case]
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(TraceError) as caught:
        list(read_trace(file))
    assert f"trace.csv{line}" in str(caught.value) and remedy in str(caught.value)


def test_damaged_gzip(tmp_path: Path) -> None:
    file = tmp_path / "trace.gz"
    file.write_bytes(gzip.compress((FORMS["servegen"][0] + "1,2,3,4,5\n" * 50).encode())[:-12])
    with pytest.raises(TraceError, match="whole text or gzip file"):
        list(read_trace(file))


def _csv(tmp_path: Path, arrivals: list[float]) -> str:
    rows = "".join(f"{at},10,5\n" for at in arrivals)
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    return str(file)


def test_pace(tmp_path: Path) -> None:
    trace = _csv(tmp_path, [100.0, 101.0, 101.5, 104.0])
    assert [p.at_s for p in plan(Shape(trace))] == [0.0, 1.0, 1.5, 4.0]
    assert [p.at_s for p in plan(Shape(trace, speedup=2))] == [0.0, 0.5, 0.75, 2.0]
    assert [p.at_s for p in plan(Shape(trace, rate=1.5))] == pytest.approx([0.0, 0.5, 0.75, 2.0])
    assert [p.at_s for p in plan(Shape(trace, rate=float("inf")))] == [0.0] * 4
    assert len(plan(Shape(trace, requests=2))) == 2


def test_out_of_order_rows_are_sent_in_order(tmp_path: Path) -> None:
    assert [p.at_s for p in plan(Shape(_csv(tmp_path, [3.0, 1.0, 2.0])))] == [0.0, 1.0, 2.0]


def test_generated_arrivals_have_the_rate_and_depend_on_the_seed(tmp_path: Path) -> None:
    shape = Shape("synthetic:poisson", requests=2000, rate=50.0, seed=3)
    times = [p.at_s for p in plan(shape)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 50, rel=0.1) and min(gaps) >= 0
    assert plan(shape) == plan(shape) != plan(Shape("synthetic:poisson", requests=2000, rate=50.0, seed=4))


def test_limits_are_not_clips() -> None:
    planned = plan(Shape("sample", requests=10, max_input_tokens=16, max_output_tokens=8), max_model_tokens=64)
    assert all(p.input_tokens <= 16 and p.output_tokens <= 8 and not p.clipped for p in planned)


@pytest.mark.parametrize("context", [2, 3, 64, 4096])
def test_clipped_requests_fit(context: int) -> None:
    for p in plan(Shape("sample"), max_model_tokens=context):
        assert p.input_tokens >= 1 and p.output_tokens >= 1 and p.input_tokens + p.output_tokens <= context


def test_equal_prefix_ids_give_equal_prompts() -> None:
    prompts = Prompts(1, 1000)
    a, b = (prompts.ids(Planned(i, 0.0, 1200, 1, ids)) for i, ids in enumerate(((7, 8, 9), (7, 8, 10))))
    assert a[:1024] == b[:1024] and a[1024:] != b[1024:]
    assert len(a) == len(b) == 1200
