"""Instruments count as Prometheus' own do, and latencies are held against goals."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Reference
from prometheus_client.parser import text_string_to_metric_families as parse

from orchestrator.core.config import Tier
from orchestrator.observability import Metrics, Outcome
from orchestrator.observability.instruments import Counter, Gauge, Histogram
from orchestrator.observability.labels import BoundedLabel
from pd.v1 import worker_pb2 as pb

BOUNDS = (0.001, 0.5, 1.0, 20.0)


def values(registry):
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for family in parse(generate_latest(registry).decode())
        for s in family.samples
        if not s.name.endswith("_created")
    }


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=40))
def test_a_histogram_is_scraped_like_prometheus_own(observations):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("x_seconds", "text", BOUNDS, ("l",), ours)
    reference = Reference("x_seconds", "text", ("l",), buckets=BOUNDS, registry=theirs)
    for label, value in observations:
        histogram.labels(label).observe(value)
        reference.labels(label).observe(value)
    assert values(ours) == pytest.approx(values(theirs))


def test_counters_and_gauges():
    registry = CollectorRegistry()
    counter, gauge = Counter("n", "text", ("l",), registry), Gauge("g", "text", (), registry)
    counter.labels('quote " and \\ and \n').inc(2)
    counter.labels("gone").inc()
    counter.drop("gone")
    gauge.set(2.5)
    found = values(registry)
    assert found[("n_total", ("l", 'quote " and \\ and \n'))] == 2
    assert found[("g",)] == 2.5
    assert len(found) == 2
    with pytest.raises(ValueError, match="has labels"):
        counter.labels("a", "b")
    with pytest.raises(ValueError, match="Duplicated"):
        Counter("n", "text", (), registry)


def test_labels_are_bounded_and_make_room():
    label = BoundedLabel(2)
    assert [label(v) for v in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]
    label.forget("a")
    assert label("c") == "c"


def numbers(metrics, pattern):
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in metrics.render().decode().splitlines()
        if re.search(pattern, line) and not line.startswith("#")
    }


def test_goals_of_a_tier_and_of_a_request():
    tiers = {"fast": Tier("fast", 1000.0, 100.0)}
    metrics = Metrics(tiers=tiers)

    def run(outcome=Outcome.COMPLETED, tier="fast", **goals):
        meter = metrics.start("chat", tier, 3, None, **goals)
        meter.tokens(2)
        meter.tokens(1)
        meter.end(outcome, "done")
        meter.end(outcome, "done")

    run()
    run(ttft_slo_s=1e-12)
    run(tpot_slo_s=1e-12)
    run(Outcome.FAILED)
    run(Outcome.CANCELLED)
    run(tier="none")
    assert numbers(metrics, r"slo_requests_total.*fast") == {'pd_slo_requests_total{tier="fast"}': 4}
    assert numbers(metrics, r"slo_attained_total.*fast") == {
        'pd_slo_attained_total{objective="ttft",tier="fast"}': 2,
        'pd_slo_attained_total{objective="tpot",tier="fast"}': 2,
        'pd_slo_attained_total{objective="all",tier="fast"}': 1,
    }
    assert numbers(metrics, r"goodput_tokens_total.*fast") == {'pd_goodput_tokens_total{tier="fast"}': 3}
    tiers["fast"] = Tier("fast", 1e-9, 100.0)
    run()
    assert numbers(metrics, r'attained_total.*"all".*fast') == {'pd_slo_attained_total{objective="all",tier="fast"}': 1}
    assert numbers(metrics, "^pd_active") == {'pd_active_requests{api="chat"}': 0}
    assert numbers(metrics, "^pd_ttft_seconds_count") == {
        'pd_ttft_seconds_count{tier="fast"}': 6,
        'pd_ttft_seconds_count{tier="none"}': 1,
    }


def test_a_worker_that_left_leaves_no_series():
    metrics = Metrics()
    for name in ("w0", "w1"):
        metrics.worker(name, pb.WorkerStatus(running=2, kv_used_blocks=1, kv_total_blocks=4, lease_expiries=3))
    metrics.workers.states({"w0": "up", "w1": "draining"})
    metrics.workers.hung("w0")
    assert numbers(metrics, 'kv_usage_ratio.*"w0"') == {'pd_worker_kv_usage_ratio{worker="w0"}': 0.25}
    assert numbers(metrics, 'lease_expiries.*"w0"') == {'pd_worker_kv_lease_expiries_total{worker="w0"}': 3}
    assert numbers(metrics, 'worker_state.*"w1".* 1.0') == {'pd_worker_state{state="draining",worker="w1"}': 1}
    metrics.worker_gone("w0")
    assert numbers(metrics, 'running_requests.*"w0"') == {'pd_worker_running_requests{worker="w0"}': 0}
    metrics.workers.states({"w1": "up"})
    assert numbers(metrics, '"w0"') == {}
    assert numbers(metrics, 'worker_up.*"w1"') == {'pd_worker_up{worker="w1"}': 1}
