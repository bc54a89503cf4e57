"""`pdctl replay` against a double of an OpenAI-compatible server."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_double import AdminDouble
from tests.cli.conftest import Pdctl
from tests.cli.http_double import HttpServer

FAST = ("--rate", "inf", "-o", "json")


def _trace(path: Path, rows: list[tuple[int, int]]) -> Path:
    lines = [f"2023-11-16 18:15:{i:02d}.0000000,{a},{b}" for i, (a, b) in enumerate(rows)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines, ""]))
    return path


def test_report_has_the_agreed_fields(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    trace = _trace(tmp_path / "t.csv", [(20, 5), (30, 8), (7, 1)])
    done = lone("replay", "--url", endpoint.url, "--trace", trace, *FAST)
    assert done.code == 0, done.err
    report = done.json()
    assert report["requests"] == {"submitted": 3, "completed": 3, "failed": 0, "rejected": 0, "clipped": 0}
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        assert set(report[name]) == {"mean", "p50", "p90", "p95", "p99", "max"}
        assert 0 <= report[name]["p50"] <= report[name]["max"] < 30
    assert set(report["throughput"]) == {"requests_per_s", "input_tokens_per_s", "output_tokens_per_s"}
    assert report["throughput"]["output_tokens_per_s"] * report["duration_s"] == pytest.approx(14)
    assert report["throughput"]["input_tokens_per_s"] * report["duration_s"] == pytest.approx(57)
    assert set(report["kv"]) == {"bytes_moved", "transfers", "preemptions", "migrations", "lease_expiries"}
    assert report["energy_j"] is None and report["cost_usd"] is None and report["workers"] == []
    assert report["tiers"]["default"]["requests"]["submitted"] == 3
    assert {"duration_s", "wall_s", "cpu_s", "seed", "version", "goodput_rps", "slo_attainment"} <= report.keys()


def test_what_is_sent(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    trace = _trace(tmp_path / "t.csv", [(20, 5), (30, 8)])
    line = ("replay", "--url", f"{endpoint.url}/v1/", "--trace", trace, "--ignore-eos", "--seed", "7", "--tier", "gold")
    assert lone(*line, "--ttft-slo-ms", "250", *FAST).code == 0
    bodies = sorted(endpoint.double.bodies, key=lambda b: len(b["prompt"]))
    assert [(len(b["prompt"]), b["max_tokens"]) for b in bodies] == [(20, 5), (30, 8)]
    assert all(b["ignore_eos"] and b["stream"] and b["model"] == "double" for b in bodies)
    assert all(10 <= token < 460 for b in bodies for token in b["prompt"])
    headers = endpoint.double.headers[0]
    assert headers["x-llm-d-inference-objective"] == "gold" and headers["x-llm-d-slo-ttft-ms"] == "250"
    assert headers["x-request-id"].startswith("replay-") and "x-llm-d-slo-tpot-ms" not in headers
    first = [b["prompt"] for b in bodies]
    endpoint.double.bodies.clear()
    assert lone(*line, *FAST).code == 0
    assert sorted((b["prompt"] for b in endpoint.double.bodies), key=len) == first


def test_long_requests_are_clipped_and_counted(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    trace = _trace(tmp_path / "t.csv", [(1000, 5), (10, 5), (1000, 1000)])
    report = lone("replay", "--url", endpoint.url, "--trace", trace, *FAST).json()
    assert report["requests"]["clipped"] == 2
    sizes = sorted((len(b["prompt"]), b["max_tokens"]) for b in endpoint.double.bodies)
    assert sizes == [(10, 5), (128, 128), (251, 5)]


def test_slo_and_goodput(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    trace = _trace(tmp_path / "t.csv", [(5, 3)] * 4)
    line = ("replay", "--url", endpoint.url, "--trace", trace, *FAST)
    assert lone(*line, "--ttft-slo-ms", "60000").json()["slo_attainment"] == 1.0
    missed = lone(*line, "--ttft-slo-ms", "0.000001").json()
    assert missed["slo_attainment"] == 0.0 and missed["goodput_rps"] == 0.0
    assert lone(*line).json()["slo_attainment"] is None


@pytest.mark.parametrize(
    ("status", "verdict"), [(429, "rejected"), (503, "rejected"), (500, "failed"), (400, "failed")]
)
def test_refusals_and_failures(lone: Pdctl, endpoint: HttpServer, tmp_path: Path, status: int, verdict: str) -> None:
    endpoint.double.status = status
    trace = _trace(tmp_path / "t.csv", [(5, 3)] * 4)
    done = lone("replay", "--url", endpoint.url, "--trace", trace, *FAST)
    report = done.json()
    assert report["requests"][verdict] == 4 and report["requests"]["completed"] == 0
    assert report["errors"] == {f"HTTP {status}: the queue is full": 4}
    assert done.code == 1 and done.err.startswith("error: no request completed; most often: HTTP")


def test_error_in_the_stream(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    endpoint.double.break_at = 2
    trace = _trace(tmp_path / "t.csv", [(5, 2), (5, 9)])
    report = lone("replay", "--url", endpoint.url, "--trace", trace, *FAST).json()
    assert (report["requests"]["completed"], report["requests"]["failed"]) == (1, 1)
    assert report["errors"] == {"worker lost": 1}


def test_without_usage_deliveries_are_counted(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    endpoint.double.usage = False
    endpoint.double.card = {"id": "double"}
    trace = _trace(tmp_path / "t.csv", [(5, 6)])
    report = lone("replay", "--url", endpoint.url, "--trace", trace, *FAST).json()
    assert report["throughput"]["output_tokens_per_s"] * report["duration_s"] == pytest.approx(6)
    assert all(10 <= token < 200 for token in endpoint.double.bodies[0]["prompt"])


def test_waiting_for_a_slot_counts(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    endpoint.double.delay_s = 0.05
    trace = _trace(tmp_path / "t.csv", [(5, 1)] * 4)
    report = lone("replay", "--url", endpoint.url, "--trace", trace, "--concurrency", "1", *FAST).json()
    assert report["ttft_s"]["max"] >= 4 * 0.05
    assert report["client"]["slot_waits"] == 3
    assert report["client"]["sent_late_s"]["max"] >= report["client"]["waited_for_slot_s"]["max"] >= 3 * 0.05


@pytest.mark.parametrize("concurrency", [1, 256])
def test_stalled_server_cannot_hide_its_queue(
    lone: Pdctl, endpoint: HttpServer, tmp_path: Path, concurrency: int
) -> None:
    endpoint.double.stall_at, endpoint.double.stall_s = 10, 1.0
    trace = _trace(tmp_path / "t.csv", [(5, 1)] * 50)
    line = ("replay", "--url", endpoint.url, "--trace", trace, "--speedup", "50", "--concurrency", concurrency)
    done = lone(*line, "-o", "json")
    report = done.json()
    # 50 requests are due 20 ms apart, and all but the first 10 during the second in which the server stands still. Measured from
    # when they are sent one after the other, only one of 50 would have waited.
    assert report["requests"]["completed"] == 50
    assert report["ttft_s"]["p99"] > 0.9 and report["ttft_s"]["p50"] > 0.3 and report["e2e_s"]["p99"] > 0.9
    assert ("waited up to" in done.err and "--concurrency" in done.err) == (concurrency == 1)


def test_tiers_of_the_trace_are_sent_and_measured(
    pdctl: Pdctl, admin: AdminDouble, endpoint: HttpServer, run_dir: Path, tmp_path: Path
) -> None:
    rows = [{"arrival_s": i / 100, "input_tokens": 5, "output_tokens": 2, "tier": t} for i, t in enumerate("abba")]
    trace = tmp_path / "t.jsonl"
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lone = pdctl("replay", "--url", endpoint.url, "--trace", trace, *FAST)
    assert lone.code == 0, lone.err
    assert sorted(h["x-llm-d-inference-objective"] for h in endpoint.double.headers) == ["a", "a", "b", "b"]
    assert {name: t["requests"]["submitted"] for name, t in lone.json()["tiers"].items()} == {"a": 2, "b": 2}

    document = json.loads((run_dir / "cluster.json").read_text())
    (run_dir / "cluster.json").write_text(json.dumps(document | {"http_url": endpoint.url}))
    admin.workers["decode-0"].running = 0
    unknown = pdctl("replay", "--trace", trace, *FAST)
    assert unknown.code == 1 and "requests of tier 'a', and the cluster has default" in unknown.err
    admin.spec["spec"]["tiers"] = [
        {"name": "a", "ttftMs": 60000, "tpotMs": 60000},
        {"name": "b", "ttftMs": 0.001, "tpotMs": 0.001},
    ]
    tiers = pdctl("replay", "--trace", trace, *FAST).json()["tiers"]
    assert (tiers["a"]["slo_attainment"], tiers["b"]["slo_attainment"]) == (1.0, 0.0)
    endpoint.double.headers.clear()
    assert pdctl("replay", "--trace", trace, "--tier", "b", *FAST).code == 0
    assert {h["x-llm-d-inference-objective"] for h in endpoint.double.headers} == {"b"}


def test_interrupted_run_reports_what_ended(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    endpoint.double.hang_after = 2
    trace = _trace(tmp_path / "t.csv", [(5, 2)] * 6)

    def interrupt() -> None:
        endpoint.double.hanging.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=interrupt)
    killer.start()
    done = lone("replay", "--url", endpoint.url, "--trace", trace, "--concurrency", "1", *FAST)
    killer.join()
    assert done.code == 130 and "4 requests" in done.err
    assert done.json()["requests"]["completed"] == 2


def test_running_cluster_gives_kv_workers_and_slo(
    pdctl: Pdctl, admin: AdminDouble, endpoint: HttpServer, run_dir: Path, tmp_path: Path
) -> None:
    document = json.loads((run_dir / "cluster.json").read_text())
    (run_dir / "cluster.json").write_text(json.dumps(document | {"http_url": endpoint.url}))
    admin.workers["decode-0"].running = 0
    admin.pulled_once = 4096
    report: dict[str, Any] = pdctl("replay", "--requests", "5", "--max-input-tokens", "9", *FAST).json()
    assert report["requests"]["completed"] == 5 and report["slo_attainment"] == 1.0
    assert report["kv"]["transfers"] >= 1 and report["kv"]["bytes_moved"] == 4096 * report["kv"]["transfers"]
    assert [w["name"] for w in report["workers"]] == ["prefill-0", "decode-0", "decode-1"]
    assert {"role", "pool", "generated_tokens", "prefill_requests"} <= report["workers"][0].keys()


def test_table_and_report_file(lone: Pdctl, endpoint: HttpServer, tmp_path: Path) -> None:
    trace = _trace(tmp_path / "t.csv", [(5, 3)] * 2)
    file = tmp_path / "report.json"
    done = lone("replay", "--url", endpoint.url, "--trace", trace, "--rate", "inf", "--report-file", file)
    assert done.code == 0 and "2 completed" in done.out and "P99" in done.out
    assert json.loads(file.read_text())["requests"]["completed"] == 2
