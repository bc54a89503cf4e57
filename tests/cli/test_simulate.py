"""`pdctl simulate`: reports, overrides, sweeps, and what it says to mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Pdctl

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
SMALL = "simulate --trace synthetic:poisson --requests 40 --rate 4 --seed 1 --set frontDoor.refuseLate=false"


def h100(**simulation: object) -> str:
    document = {
        "apiVersion": "pd/v1",
        "kind": "Cluster",
        "spec": {
            "model": {"dtype": "bfloat16"},
            "pools": [
                {"name": "prefill", "role": "prefill", "count": 1, "hardware": "h100"},
                {"name": "decode", "role": "decode", "count": 2, "hardware": "h100"},
            ],
            "simulation": {"model": "llama-3.1-8b", **simulation},
        },
    }
    return yaml.safe_dump(document)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "h100.yaml").write_text(h100())
    (tmp_path / "unknown.yaml").write_text(h100().replace("hardware: h100", "hardware: h1000"))
    (tmp_path / "unfit.yaml").write_text(h100(model="llama-3.1-70b"))
    (tmp_path / "nomodel.yaml").write_text(h100(model="llama-3.1-9b"))
    (tmp_path / "columns.csv").write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,374\n")
    (tmp_path / "negative.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n2023-11-16 18:15:47,-3,44\n"
    )
    (tmp_path / "empty.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    (tmp_path / "tiers.jsonl").write_text('{"arrival_s": 0, "input_tokens": 5, "output_tokens": 4, "tier": "gold"}\n')
    return tmp_path


MISTAKES: list[tuple[str, int, str]] = [
    ("simulate --trace {tmp}/columns.csv", 1, "columns"),
    ("simulate --trace {tmp}/negative.csv", 1, "negative.csv:3"),
    ("simulate --trace {tmp}/empty.csv", 1, "no requests"),
    ("simulate --trace {tmp}/missing.csv", 1, "missing.csv"),
    ("simulate --trace {tmp}/tiers.jsonl", 1, "tier 'gold'"),
    ("simulate --trace synthetic:pareto", 1, "use"),
    ("simulate --rate 0", 2, "give a positive number"),
    ("simulate --rate nan", 2, "give a positive number"),
    ("simulate --speedup -1", 2, "give a positive number"),
    ("simulate -f {tmp}/nothing.yaml", 1, "nothing.yaml"),
    ("simulate -f {tmp}/unknown.yaml", 1, "h100"),
    ("simulate -f {tmp}/unfit.yaml", 1, "use tensor parallel 2"),
    ("simulate -f {tmp}/nomodel.yaml", 1, "llama-3.1-8b"),
    ("simulate -f {tmp}/h100.yaml --set engine.kvBlocks=1000000", 1, "set engine.kvBlocks to at most"),
    ("simulate --set policies.routing=leest_load", 1, "least_load"),
    ("simulate --set policies.multiplexing.budgetTokens=0", 1, "budgetTokens"),
    ("simulate --set pools.decode", 2, "KEY=VALUE"),
    ("simulate --set pools.gpu.count=3", 2, "there is no 'gpu'; --set; use one of prefill, decode"),
    ("simulate --set modle.path=x", 1, "modle"),
    ("simulate --policy routing", 2, "KEY=VALUE"),
    ("simulate --sweep rate=", 2, "sweeps nothing"),
    ("simulate --sweep rate=0,1", 2, "rate 0 is not above 0"),
    ("simulate --sweep rate=1:x:1", 2, "no range"),
    ("simulate --sweep rate=1,]", 2, "no list of values"),
    ("simulate --sweep rate=1:1000:1", 2, "give 1 to 200"),
    ("simulate --fail decode-0", 2, "WORKER@SECONDS"),
    ("simulate --fail decode-9@3", 2, "there is no worker 'decode-9'; --fail; use one of prefill-0"),
    ("simulate --report {tmp}/report.pdf", 2, ".html"),
    ("simulate --report {tmp}/no/such/r.html", 2, "create it"),
    ("simulate --from-record {tmp}/missing.jsonl", 1, "missing.jsonl"),
]


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES)
def test_mistakes_name_their_remedy(pdctl: Pdctl, files: Path, line: str, code: int, message: str) -> None:
    got = pdctl(*line.format(tmp=files).split())
    assert got.code == code, got.err
    assert message in got.err
    errors = [text for text in got.err.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in got.err and "in pdctl itself" not in got.err


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_simulates(pdctl: Pdctl, example: Path) -> None:
    got = pdctl(*SMALL.split(), "-f", str(example), "-o", "json")
    assert got.code == 0, got.err
    document = got.json()
    assert document["requests"] == {"submitted": 40, "completed": 40, "failed": 0, "rejected": 0, "clipped": 0}
    assert document["workers"] and document["decisions"]["routing.prefill"] and document["scenario"]["model"]


def test_the_report_is_the_same_for_the_same_seed(pdctl: Pdctl, files: Path) -> None:
    def document(seed: int) -> dict[str, object]:
        line = f"simulate -f {files}/h100.yaml --trace synthetic:poisson --requests 40 --rate 8 --seed {seed} -o json"
        found: dict[str, object] = pdctl(*line.split()).json()
        return {key: value for key, value in found.items() if key not in ("wall_s", "cpu_s")}

    assert document(1) == document(1) != document(2)


def test_pages_and_traces_are_written(pdctl: Pdctl, files: Path) -> None:
    page, chrome, report = files / "r.html", files / "t.json", files / "r.json"
    assert pdctl(*SMALL.split(), "--report", str(page), "--chrome", str(chrome)).code == 0
    assert pdctl(*SMALL.split(), "--report", str(report)).code == 0
    assert page.read_text().lower().startswith("<!doctype html>") and "decode-1" in page.read_text()
    assert len(json.loads(chrome.read_text())["traceEvents"]) > 100
    assert json.loads(report.read_text())["requests"]["completed"] == 40


def test_a_sweep_runs_once_per_value(pdctl: Pdctl, files: Path) -> None:
    by_rate = pdctl(*SMALL.split(), "--sweep", "rate=1:3:1", "-o", "json").json()
    assert [point["value"] for point in by_rate["points"]] == [1, 2, 3]
    throughput = [point["report"]["throughput"]["requests_per_s"] for point in by_rate["points"]]
    assert throughput == sorted(throughput)
    line = [*SMALL.split(), "-f", str(files / "h100.yaml"), "--report", str(files / "sweep.html")]
    got = pdctl(*line, "--sweep", "policies.multiplexing.budgetTokens=128,2048")
    assert got.code == 0 and "POLICIES.MULTIPLEXING.BUDGETTOKENS" in got.out
    assert len(got.out.splitlines()) == 3 and (files / "sweep.html").exists()


def test_overrides_and_faults_change_the_run(pdctl: Pdctl) -> None:
    changed = pdctl(
        *SMALL.split(),
        "--set",
        "pools.decode.count=3",
        "--policy",
        "multiplexing=chunked,budgetTokens=64",
        "-o",
        "json",
    ).json()
    assert [row["name"] for row in changed["workers"]] == ["prefill-0", "decode-0", "decode-1", "decode-2"]
    lost = pdctl(*SMALL.split(), "--fail", "decode-0@2+1", "-o", "json").json()
    assert [row["state"] for row in lost["workers"] if row["name"] == "decode-0"] == ["dead", "ready"]
    assert lost["requests"]["completed"] == 40


def test_a_cluster_that_completes_nothing_is_a_failure(pdctl: Pdctl) -> None:
    got = pdctl(*SMALL.split(), "--set", "frontDoor.requestTimeoutS=0.1")
    assert got.code == 1 and "no request completed; most often: no end after 0.1 s" in got.err
