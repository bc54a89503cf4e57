"""A real Prometheus scrapes a real front door, and every documented metric is found there."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from orchestrator.observability import Metrics
from tests.observability.conftest import OPERATOR, chat

PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"
ROW = re.compile(r"^\| `(pd_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
UNTIL_IT_HAPPENS = {
    "pd_auth_refused_total",
    "pd_retries_total",
    "pd_transfer_failures_total",
    "pd_worker_breaker_state",
    "pd_worker_hung_total",
}
"""Documented metrics without series while nothing goes wrong."""


def documented():
    """Name → (type, labels) as the page says."""
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) == len({name for name, _, _ in rows})
    return {
        name: (kind, () if labels.strip() == "–" else tuple(labels.strip().split(", "))) for name, kind, labels in rows
    }


def test_the_page_names_exactly_what_the_registry_holds():
    registered = {}
    for instrument in Metrics().registry._collector_to_names:
        name = f"{instrument.name}_total" if instrument.kind == "counter" else instrument.name
        registered[name] = (instrument.kind, instrument.label_names)
    assert documented() == registered


@pytest.fixture
def prometheus(seen, tmp_path):
    """The base URL of a Prometheus that scrapes the front door every second."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus here: run apt-get install -y --no-install-recommends prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "key").write_text(OPERATOR)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "tandem",
                "scheme": "https",
                "tls_config": {"ca_file": str(seen.authority.ca)},
                "authorization": {"credentials_file": str(tmp_path / "key")},
                "static_configs": [{"targets": [f"127.0.0.1:{seen.port}"]}],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    command = [binary, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def ask(url, path, **query):
    """`data` of an API answer; None while Prometheus does not answer yet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as response:
            return json.load(response)["data"]
    except (urllib.error.URLError, ConnectionError):
        return None


def until(condition, what, timeout_s=90.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)  # another process
    return found


def test_a_real_prometheus_finds_every_documented_metric(seen, prometheus):
    for _ in range(2):
        chat(seen)
    up = until(lambda: (ask(prometheus, "query", query="up") or {}).get("result"), "Prometheus never scraped")
    until(
        lambda: (ask(prometheus, "query", query='pd_requests_total{outcome="completed"} >= 2') or {}).get("result"),
        f"the requests never came: {up}",
    )
    known = ask(prometheus, "targets/metadata", limit="1000")
    types = {item["metric"]: item["type"] for item in known}
    names = set(ask(prometheus, "label/__name__/values"))
    for name, (kind, labels) in documented().items():
        assert types.get(name) == kind, name
        series_name = f"{name}_bucket" if kind == "histogram" else name
        if name in UNTIL_IT_HAPPENS:
            continue
        assert series_name in names, name
        series = ask(prometheus, "series", **{"match[]": series_name})
        own = {label for label in series[0] if label not in ("__name__", "instance", "job", "le")}
        assert own == set(labels), name
    phases = ask(prometheus, "query", query="pd_router_overhead_seconds_count > 0")["result"]
    assert {item["metric"]["phase"] for item in phases} == {"parse", "tokenise", "route", "dispatch", "first_token"}
    stages = ask(prometheus, "query", query="pd_stage_seconds_count > 0")["result"]
    assert {item["metric"]["stage"] for item in stages} >= {"queue", "prefill", "handoff", "decode"}
    assert not [name for name in names if name.startswith("pd_") and not known_name(name)]


def known_name(name):
    return name in documented() or re.sub(r"_(bucket|sum|count)$", "", name) in documented()
