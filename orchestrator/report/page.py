"""A report as one HTML file that needs nothing else: no network, no library, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from orchestrator.report import page_tables as tables
from orchestrator.report.columns import Columns
from orchestrator.report.outcome import Outcome
from orchestrator.report.page_latency import latency_plots
from orchestrator.report.page_sweep import Sweep, shared_bounds, sweep_plots
from orchestrator.report.page_workers import worker_plots
from orchestrator.report.timeline import Timeline

TEMPLATE = "page.html.jinja"


def page(
    document: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    timeline: Timeline | None = None,
    sweep: Sweep | None = None,
    decisions: Mapping[str, Mapping[str, int]] | None = None,
    axis: str = "rate",
) -> str:
    """The page of one report, and with `sweep` (value, report) of the figures against what `axis` names.

    `document` fits `orchestrator.report.schema.SCHEMA`; `decisions` stands for the one in it. The same arguments give the
    same bytes.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = files("orchestrator.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    whole, panels = worker_plots(timeline, _pools(document)) if timeline else ([], [])
    columns = Columns.of(outcomes)
    counts = document.get("decisions", {}) if decisions is None else decisions
    # Plots escape what they show; all else is escaped by the template.
    return environment.from_string(text).render(
        title=_title(document),
        tiles=tables.tiles(document),
        latencies=tables.latencies(document),
        plots=[Markup(p) for p in latency_plots(columns)],
        sweep=[Markup(p) for p in sweep_plots(sweep or (), axis, shared_bounds(columns))],
        axis=axis,
        at=next((str(value) for value, of in sweep or () if of is document), ""),
        whole=[Markup(p) for p in whole],
        panels=[Markup(p) for p in panels],
        decisions=tables.decisions(counts),
        tiers=tables.tiers(document),
        workers=tables.workers(document),
        errors=tables.errors(document),
        facts=tables.facts(document),
    )


def _pools(document: Mapping[str, Any]) -> dict[str, str]:
    return {str(worker["name"]): str(worker["pool"]) for worker in document["workers"]}


def _title(document: Mapping[str, Any]) -> str:
    scenario = document.get("scenario", {})
    known = [str(scenario[key]) for key in ("name", "model", "hardware", "trace") if scenario.get(key)]
    return " · ".join(known) or f"{document['requests']['submitted']:,} requests"
