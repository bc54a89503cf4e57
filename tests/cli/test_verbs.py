"""Verbs that read or change one thing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from orchestrator.cli.globals import GLOBALS
from orchestrator.cli.main import COMMANDS
from orchestrator.cli.output import Form
from orchestrator.cli.rates import Look, Rates
from orchestrator.cli.up import TerminalReporter
from tests.cli.admin_double import AdminDouble
from tests.cli.conftest import Pdctl


def test_describe_worker(pdctl: Pdctl) -> None:
    done = pdctl("describe", "worker", "decode-0")
    assert done.code == 0 and "12/400 (3%)" in done.out and "torch" in done.out and "Started" in done.out
    document = pdctl("describe", "worker", "decode-0", "-o", "json").json()
    assert document["kind"] == "WorkerDetail" and document["description"]["block_tokens"] == 16


def test_describe_request(pdctl: Pdctl) -> None:
    done = pdctl("describe", "request", "req-1")
    assert done.code == 0 and "40 of at most 64 tokens" in done.out and "64.0 KiB" in done.out


@pytest.mark.parametrize("verb", ["explain", "describe"])
def test_answers_of_several_requests_are_told_apart(pdctl: Pdctl, verb: str) -> None:
    done = pdctl(verb, "request", "several")
    assert done.code == 0 and "several-0" in done.out
    assert "the first of its answers, several-0; see several-1" in done.err
    assert not pdctl(verb, "request", "req-1").err


def test_explain_names_workers_reasons_and_times(pdctl: Pdctl) -> None:
    lines = pdctl("explain", "request", "req-1").out.splitlines()
    assert "Prefill ran on prefill-0, decode on decode-0; 64.0 KiB of KV moved between them." in lines
    table = [line.split() for line in lines if line.startswith(("queued", "prefilling", "transferring", "decoding"))]
    assert [row[0] for row in table] == ["queued", "prefilling", "transferring", "decoding"]
    assert table[1][1:4] == ["prefill-0", "+1.0ms", "30.0ms"] and table[1][-1] == "least_load"
    assert pdctl("explain", "request", "req-1", "-o", "json").json()["stages"][3]["seconds"] == 0.4


def test_drain_waits_until_drained(pdctl: Pdctl, admin: AdminDouble) -> None:
    done = pdctl("drain", "decode-0", "--budget", "90s")
    assert (done.code, done.out) == (0, "worker/decode-0 drained\n")
    assert "decode-0: draining, 3 running" in done.err
    assert admin.drains[0].budget_s == 90


def test_drain_no_wait_and_resume(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("drain", "decode-0", "--no-wait").out == "worker/decode-0 draining\n"
    assert pdctl("drain", "decode-0", "--resume").out == "worker/decode-0 resumed\n"
    assert admin.drains[1].resume and admin.workers["decode-0"].state == "ready"


def test_drain_gives_up(pdctl: Pdctl, admin: AdminDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.drain.GRACE_S", 0.0)
    admin.finish_drains = False
    done = pdctl("drain", "decode-0", "--budget", "300ms")
    assert done.code == 1 and "still draining with 3 running" in done.err


def test_set_role(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("set", "role", "decode-1", "both").out == "worker/decode-1 role set to both\n"
    assert admin.workers["decode-1"].role == "both"


def test_names_as_get_prints_them(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("get", "workers", "worker/decode-1", "-o", "name").out == "worker/decode-1\n"
    assert "12/400 (3%)" in pdctl("describe", "worker", "worker/decode-0").out
    assert "64.0 KiB" in pdctl("describe", "request", "request/req-1").out
    assert pdctl("explain", "request", "request/req-1").code == 0
    assert pdctl("set", "role", "worker/decode-1", "both").out == "worker/decode-1 role set to both\n"
    assert pdctl("drain", "worker/decode-0", "--no-wait").out == "worker/decode-0 draining\n"
    assert admin.workers["decode-1"].role == "both" and admin.drains[0].worker == "decode-0"
    assert "no worker 'pool/decode-0'" in pdctl("describe", "worker", "pool/decode-0").err


def test_set_policy_with_parameters(pdctl: Pdctl, admin: AdminDouble) -> None:
    done = pdctl("set", "policy", "routing", "least_load", "--param", "alpha=0.25", "-p", "sticky=true", "-p", "tag=x")
    assert done.out == "policy/routing set to least_load (alpha=0.25 sticky=True tag=x)\n"
    assert admin.policies["routing"] == ("least_load", {"alpha": 0.25, "sticky": True, "tag": "x"})


def test_generate_streams_chat(pdctl: Pdctl, admin: AdminDouble) -> None:
    done = pdctl("generate", "count to 3", "--system", "be brief", "--max-tokens", "9", "--stop", "!", "--stats")
    assert (done.code, done.out) == (0, "one two three\n")
    assert "req-9: 4 prompt tokens, 3 output tokens, finish stop; TTFT" in done.err
    asked = admin.asked[0]
    assert [(m.role, m.content) for m in asked.chat.messages] == [("system", "be brief"), ("user", "count to 3")]
    assert asked.sampling.max_tokens == 9 and list(asked.stop) == ["!"] and asked.sampling.temperature == 0


def test_generate_raw(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("generate", "--raw", "once upon").code == 0
    assert admin.asked[0].prompt == "once upon" and not admin.asked[0].HasField("chat")


def test_check(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("check").code == 0
    admin.healthy = False
    done = pdctl("check")
    assert done.code == 1 and "block 7 has 2 owners" in done.out and "prefill-0" not in done.err
    assert done.err.startswith("error: the books do not balance; on decode-0")


def test_top_once(pdctl: Pdctl) -> None:
    done = pdctl("top", "--once")
    assert done.code == 0 and "1 queued" in done.out and "decode-1" in done.out
    assert pdctl("top", "--once", "--json").json()["workers"][0]["name"] == "prefill-0"


def test_version(pdctl: Pdctl, lone: Pdctl) -> None:
    document = pdctl("version", "-o", "json").json()
    assert document["version"] and document["cluster"] == {"name": "test", "model": "demo", "version": "0.1.0"}


def test_version_without_cluster(lone: Pdctl) -> None:
    done = lone("version")
    assert done.code == 0 and "not running" in done.out


def test_config_show_is_the_spec_in_force(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert yaml.safe_load(pdctl("config", "show").out) == admin.spec
    assert pdctl("config", "show", "--default", "-o", "json").json()["kind"] == "Cluster"


def test_config_check(lone: Pdctl, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("apiVersion: pd/v1\nkind: Cluster\nspec: {}\n")
    done = lone("config", "check", file)
    assert done.code == 0 and "is valid" in done.out
    assert lone("config", "check", file, "-o", "json").json() == {"file": str(file), "valid": True, "problems": []}


def test_config_schema(lone: Pdctl) -> None:
    schema = lone("config", "schema").json()
    assert "spec" in schema["properties"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(lone: Pdctl, shell: str) -> None:
    done = lone("completion", shell)
    assert done.code == 0 and "_PDCTL_COMPLETE" in done.out


def test_completion_knows_nouns(monkeypatch: pytest.MonkeyPatch, lone: Pdctl) -> None:
    monkeypatch.setenv("_PDCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "pdctl get wo")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert lone().out.split() == ["workers"]


def test_help_lists_all_and_imports_nothing_heavy() -> None:
    code = "import sys\nfrom orchestrator.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('grpc', 'rich', 'ray', 'torch', 'aiohttp', 'numpy') if m in sys.modules])"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"\n  {verb} " in done.stdout for verb in COMMANDS)
    assert time.monotonic() - begun < 5  # a loaded machine; alone it takes a tenth of a second


def _look(at_s: float, tokens: int, ages: list[float]) -> Look:
    worker = {"name": "w", "generated_tokens": tokens, "prompt_tokens": 0, "kv_bytes_pulled": 0}
    return Look(at_s, [worker], [{"age_s": age_s} for age_s in ages])


def test_up_names_the_run_directory_to_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = {"name": "c", "http_url": "http://h:1", "grpc_address": "h:2", "run_dir": "/tmp/a b"}
    for given, line in ((None, "`pdctl down`"), (Path("/tmp/a b"), "`pdctl down --run-dir '/tmp/a b'`")):
        monkeypatch.setattr(GLOBALS, "run_dir", given)
        TerminalReporter(Form.TABLE, detached=True).ready(cluster)
        assert capsys.readouterr().out.endswith(f"Stop it with {line}.\n")


def test_rates_of_top() -> None:
    rates = Rates.between(_look(10.0, 100, []), _look(12.0, 150, [1.0, 9.0, 11.0]))
    assert rates.generated_tokens == {"w": 25.0} and rates.arrivals == 0.2
    assert Rates.between(_look(10.0, 100, []), _look(12.0, 30, [])).generated_tokens == {"w": 15.0}  # it restarted
    assert Rates.between(None, _look(0.0, 100, [])).generated_tokens == {}
