"""`pdctl trace describe`, `convert` and `synthesize`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from orchestrator.workload.lengths import LENGTHS
from orchestrator.workload.reader import read_trace
from tests.cli.conftest import Pdctl


def test_describe_as_a_table(lone: Pdctl) -> None:
    done = lone("trace", "describe", "sample")
    assert done.code == 0, done.err
    assert "Requests:    200" in done.out and "requests/s mean" in done.out and "Prefixes" not in done.out
    header, tokens_in, tokens_out = done.out.splitlines()[-3:]
    assert header.split() == ["TOKENS", "MEAN", "P50", "P90", "P99", "MAX", "TOTAL"]
    assert tokens_in.split()[0] == "input" and tokens_in.split()[5] == "4,107" and tokens_out.split()[5] == "594"


def test_describe_as_a_document(lone: Pdctl) -> None:
    line = ("trace", "describe", "synthetic:gamma?cv=2&lengths=100/7&tiers=a:1,b:3", "--rate", "4", "--seed", "1")
    document = lone(*line, "--requests", "5000", "-o", "json").json()
    assert document["kind"] == "Trace" and document["apiVersion"] == "pd/v1" and document["requests"] == 5000
    assert document["arrivals"]["rate_rps"] == pytest.approx(4, rel=0.1)
    assert document["arrivals"]["cv"] == pytest.approx(2, rel=0.1)
    assert document["input_tokens"] == {
        "mean": 100.0,
        "p50": 100.0,
        "p90": 100.0,
        "p99": 100.0,
        "max": 100,
        "total": 500_000,
    }
    assert document["tiers"]["b"] / 5000 == pytest.approx(0.75, abs=0.03) and document["prefix"] is None
    assert "requests: 10000" in lone(*line, "-o", "yaml").out
    again = lone(*line, "--requests", "5000", "-o", "json").json()
    assert again == document


def test_describe_says_what_is_left_out(lone: Pdctl, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,m,5,5,10,x\n2,m,5,0,5,x\n")
    done = lone("trace", "describe", file)
    assert done.code == 0 and "left out: 1 failed requests" in done.err
    assert lone("trace", "describe", file, "-o", "json").json()["left_out"] == {
        "failed requests (0 response tokens)": 1
    }


def test_describe_a_trace_without_arrivals(lone: Pdctl, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("num_prefill_tokens,num_decode_tokens\n5,6\n7,8\n")
    assert "none; give a rate" in lone("trace", "describe", file).out
    assert lone("trace", "describe", file, "--rate", "2", "-o", "json").json()["arrivals"]["span_s"] > 0
    sliced = lone("trace", "describe", file, "--start-s", "1")
    assert sliced.code == 1 and "no arrivals to slice by" in sliced.err


def test_convert_a_part(lone: Pdctl, tmp_path: Path) -> None:
    out = tmp_path / "part.jsonl.gz"
    line = (
        "trace",
        "convert",
        "sample",
        out,
        "--start-s",
        "10",
        "--duration-s",
        "30",
        "--rate",
        "8",
        "--tiers",
        "gold",
    )
    done = lone(*line)
    assert done.code == 0 and f"requests written to {out}" in done.err and not done.out
    rows = list(read_trace(out))
    times = [row.arrival_s or 0.0 for row in rows]
    assert times[0] == 0 and (len(rows) - 1) / times[-1] == pytest.approx(8) and {row.tier for row in rows} == {"gold"}
    assert gzip.decompress(out.read_bytes()).decode().splitlines()[0] == json.dumps(
        {"arrival_s": 0.0, "input_tokens": rows[0].input_tokens, "output_tokens": rows[0].output_tokens, "tier": "gold"}
    )


@pytest.mark.parametrize(("name", "option"), [("b.csv", ()), ("b.txt", ("--format", "csv")), ("b.jsonl", ())])
def test_converting_back_and_forth_changes_nothing(
    lone: Pdctl, tmp_path: Path, name: str, option: tuple[str, ...]
) -> None:
    first, between, last = tmp_path / "a.jsonl", tmp_path / name, tmp_path / "c.jsonl"
    assert lone("trace", "convert", "sample", first).code == 0
    assert lone("trace", "convert", first, between, *option).code == 0
    assert between.read_text().startswith("arrival_s," if "csv" in (name + "".join(option)) else "{")
    assert lone("trace", "convert", between, last).code == 0
    assert first.read_bytes() == last.read_bytes() and len(list(read_trace(last))) == 200


def test_nothing_is_overwritten_unasked(lone: Pdctl, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    out.write_text("mine")
    for line in (("convert", "sample"), ("synthesize", "poisson")):
        done = lone("trace", *line, out)
        assert done.code == 2 and "--force" in done.err and out.read_text() == "mine"
        assert lone("trace", *line, out, "--force").code == 0 and out.read_text() != "mine"
        out.write_text("mine")
    assert lone("trace", "convert", "sample", tmp_path).code == 2
    assert lone("trace", "convert", "sample", tmp_path / "no" / "t").code == 2


def test_synthesize_is_the_same_for_the_same_seed(lone: Pdctl, tmp_path: Path) -> None:
    line = ("trace", "synthesize", "gamma?cv=3&lengths=azure-code&tiers=interactive:0.3,batch:0.7")
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    for file, seed in zip(files, ("7", "7", "8"), strict=True):
        assert lone(*line, file, "--requests", "50", "--rate", "10", "--seed", seed).code == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert len(list(read_trace(files[0]))) == 50
    assert lone("trace", "synthesize", "synthetic:poisson", tmp_path / "d.csv").code == 0
    assert len(list(read_trace(tmp_path / "d.csv"))) == 1000


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (("describe", "none.csv"), 1, ("no such trace", "none.csv", "synthetic:NAME")),
        (("describe", "sample", "--rate", "0"), 2, ("--rate", "positive")),
        (("describe", "sample", "--rate", "nan"), 2, ("--rate", "positive")),
        (("describe", "sample", "--duration-s", "-1"), 2, ("--duration-s", "positive")),
        (("describe", "synthetic:gamma?cvs=3"), 1, ("'cvs'", "did you mean cv?")),
        (("synthesize", "sine", "OUT"), 1, ("'sine'", "synthetic:diurnal")),
        (("convert", "sample", "OUT.parquet"), 2, ("out.parquet ends in neither .jsonl nor .csv", "--format")),
        (("synthesize", "poisson", "OUT.csv.zst"), 2, ("out.csv.zst", "--format")),
        (("convert", "none.csv", "OUT"), 1, ("no such trace",)),
        (("convert", "sample", "OUT", "--start-s", "1e9"), 1, ("chosen part",)),
    ],
)
def test_mistakes_are_one_line(
    lone: Pdctl, tmp_path: Path, line: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = lone("trace", *(word.replace("OUT", str(tmp_path / "out")) for word in line))
    assert done.code == code and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert all(word in done.err for word in words) and not list(tmp_path.iterdir())


def test_help_explains_generated_traces(lone: Pdctl) -> None:
    text = " ".join(lone("trace", "synthesize", "--help").out.split())
    for name in (*LENGTHS, "lengths=2048/64", "tiers=interactive:0.3,batch:0.7", "cv", "period_s", "amplitude"):
        assert name in text, name
    for verb in ("simulate", "replay"):
        assert "pdctl trace synthesize --help" in " ".join(lone(verb, "--help").out.split())


FOREIGN = [
    ("timestamp,ContextTokens,GeneratedTokens", "nearest is the form Azure", "rename 'timestamp' to 'TIMESTAMP'"),
    (
        "arrival_s,input_tokens,answer",
        "nearest is the form Tandem (arrival_s,input_tokens,output_tokens)",
        "add output_",
    ),
    ("arrival_s;input_tokens;output_tokens", "its columns are apart by ';'", "put commas there"),
    ("when,how,what", "use a JSONL trace or a CSV with the columns", "ContextTokens"),
]


@pytest.mark.parametrize(("header", "nearest", "remedy"), FOREIGN)
def test_a_form_of_ones_own_is_told_the_nearest(
    lone: Pdctl, tmp_path: Path, header: str, nearest: str, remedy: str
) -> None:
    file = tmp_path / "own.csv"
    file.write_text(f"{header}\n1,2,3\n")
    done = lone("trace", "describe", file)
    assert done.code == 1 and done.err.count("\n") == 1 and nearest in done.err and remedy in done.err


def test_help_teaches_by_example(lone: Pdctl) -> None:
    for verb in ("describe", "convert", "synthesize"):
        assert f"Example: pdctl trace {verb} " in lone("trace", verb, "--help").out
