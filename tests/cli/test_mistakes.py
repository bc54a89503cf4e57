"""Wrong command lines and failed operations: exit code, and a line that says what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.cli.admin_double import AdminDouble
from tests.cli.conftest import Pdctl

# Command line, exit code, what the message must contain. {tmp} is a fresh directory with a few bad files.
ALONE: list[tuple[str, int, str]] = [
    ("get workers", 1, "run"),
    ("get workers --server 127.0.0.1:1", 1, "the cluster does not answer; 127.0.0.1:1; check --server"),
    ("get workers --server nowhere", 2, "give HOST:PORT"),
    ("get workers --server 127.0.0.1:99999", 2, "give HOST:PORT"),
    ("get workers --run-dir {tmp}", 1, "no cluster is running; no {tmp}/cluster.json; start one with `pdctl up`"),
    ("get workers --run-dir {tmp}/broken", 1, "cannot read the cluster's address"),
    ("get workers --run-dir {tmp}/stale", 1, "is not running: nothing answers at 127.0.0.1:1"),
    ("get wrokers", 2, "workers"),
    ("gte workers", 2, "see pdctl --help"),
    ("get workers -o xml", 2, "table"),
    ("get workers --nonsense", 2, "--nonsense"),
    ("set role decode-0", 2, "ROLE"),
    ("set role decode-0 king", 2, "invalid value for 'ROLE': 'king' is not one of 'prefill'"),
    ("set policy routing least_load --param alpha", 2, "--param alpha=0.5"),
    ("set policy routing least_load --param a=[1]", 2, "give a number, true, false or text"),
    ("drain decode-0 --budget soon", 2, "use seconds, or 500ms, 60s, 5m, 1h"),
    ("drain decode-0 --budget -5", 2, "duration"),
    ("drain", 2, "WORKER"),
    ("generate", 2, "PROMPT"),
    ("generate x --max-tokens 0", 2, "--max-tokens"),
    ("generate x --temperature -1", 2, "--temperature"),
    ("generate x --raw --system y", 2, "drop one of the two"),
    ("completion csh", 2, "bash"),
    ("config check {tmp}/missing.yaml", 1, "missing.yaml"),
    ("config check {tmp}/unknown.yaml", 1, "modle"),
    ("replay --url ftp://x", 1, "give for example http://"),
    ("replay --url http://127.0.0.1:1", 1, "check --url, or run `pdctl up`"),
    ("replay --url http://127.0.0.1:1 --trace {tmp}/missing.csv", 1, "give a CSV or JSONL file, `sample`, servegen:"),
    ("replay --url http://127.0.0.1:1 --trace {tmp}", 1, "the trace is a directory"),
    ("replay --url http://127.0.0.1:1 --trace {tmp}/negative.csv", 1, "negative.csv:2"),
    ("replay --url http://127.0.0.1:1 --trace {tmp}/half.gz", 1, "whole text or gzip file"),
    ("replay --url http://127.0.0.1:1 --trace synthetic:pareto", 1, "use synthetic:poisson"),
    ("replay --rate 0", 2, "--rate; give a positive number"),
    ("replay --speedup -2", 2, "--speedup; give a positive number"),
    ("replay --rate nan", 2, "--rate; give a positive number"),
    ("replay --rate 1 --speedup 2", 2, "give one of them"),
    ("replay --ttft-slo-ms 0", 2, "--ttft-slo-ms"),
    ("replay --requests 0", 2, "--requests"),
    ("replay --concurrency 0", 2, "--concurrency"),
    ("replay --report-file {tmp}/no/such/r.json", 2, "create it"),
]

RUNNING: list[tuple[str, int, str]] = [
    ("get workers decode-9", 1, "there are: prefill-0, decode-0, decode-1"),
    ("describe worker decode-9", 1, "no worker 'decode-9'; there are: decode-0, decode-1, prefill-0"),
    ("describe request req-9", 1, "no request 'req-9'"),
    ("explain request req-9", 1, "no request 'req-9'"),
    ("drain decode-9", 1, "no worker 'decode-9'"),
    ("set role decode-9 both", 1, "no worker 'decode-9'"),
    ("set policy routing fastest", 1, "use one of: round_robin, least_load, prefix_aware"),
    ("get pools -w", 1, "compare with `pdctl version`"),
    ("replay --tier gold", 2, "use one of: default"),
    ("replay", 1, "give --url"),
]


def _files(tmp_path: Path) -> None:
    for name, text in (("broken", "{"), ("stale", '{"name": "old", "grpc_address": "127.0.0.1:1", "pid": 999999999}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cluster.json").write_text(text)
    (tmp_path / "unknown.yaml").write_text("apiVersion: pd/v1\nkind: Cluster\nspec:\n  modle: {}\n")
    (tmp_path / "negative.csv").write_text("arrival_s,input_tokens,output_tokens\n0,-1,5\n")
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"arrival_s,input_tokens,output_tokens\n" * 9)[:30])


def _check(pdctl: Pdctl, line: str, code: int, text: str, tmp_path: Path) -> None:
    done = pdctl(*line.format(tmp=tmp_path).split())
    assert done.code == code, done.err
    assert text.format(tmp=tmp_path) in done.err
    assert done.err.splitlines()[-1].startswith("error: ") and "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(("line", "code", "text"), ALONE, ids=[line for line, *_ in ALONE])
def test_without_a_cluster(lone: Pdctl, tmp_path: Path, line: str, code: int, text: str) -> None:
    _files(tmp_path)
    _check(lone, line, code, text, tmp_path)


@pytest.mark.parametrize(("line", "code", "text"), RUNNING, ids=[line for line, *_ in RUNNING])
def test_with_a_cluster(pdctl: Pdctl, tmp_path: Path, line: str, code: int, text: str) -> None:
    _check(pdctl, line, code, text, tmp_path)


def test_verbose_shows_the_traceback(pdctl: Pdctl) -> None:
    done = pdctl("describe", "worker", "decode-9", "-v")
    assert done.code == 1 and "Traceback" in done.err and done.err.splitlines()[-1].startswith("error: ")


def test_the_unexpected_is_one_line_too(pdctl: Pdctl, admin: AdminDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.get.workers.show", lambda *_: 1 / 0)
    done = pdctl("get", "workers")
    assert done.code == 1 and done.err.startswith("error: ZeroDivisionError") and done.err.count("\n") == 1
