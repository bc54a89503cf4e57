"""What the page says in words and numbers: headline, latencies, tiers, workers, decisions, errors, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.chrome import natural
from orchestrator.report.page_scale import number, percent, seconds

Document = Mapping[str, Any]
POINTS = ("mean", "p50", "p90", "p95", "p99", "max")
LATENCIES = (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("ITL", "itl_s"), ("E2E", "e2e_s"))
# Circumstances that differ between two runs of the same seed stay off the page: its bytes depend on the run alone.
WORKER = (
    ("pool", "Pool"),
    ("role", "Role"),
    ("state", "State"),
    ("hardware", "Hardware"),
    ("requests", "Requests"),
    ("prefill_requests", "Prefills"),
    ("decode_requests", "Decodes"),
    ("prefill_tokens", "Prefill tokens"),
    ("prompt_tokens", "Prompt tokens"),
    ("cached_prompt_tokens", "Cached tokens"),
    ("decode_tokens", "Decode tokens"),
    ("generated_tokens", "Output tokens"),
    ("utilization", "Busy"),
    ("mean_batch", "Mean batch"),
    ("kv_peak_blocks", "KV peak"),
    ("preemptions", "Preemptions"),
    ("energy_j", "Energy"),
    ("cost_usd", "Cost"),
)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; columns after the first `text` ones hold numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A count as a bar; `share` of the longest, 0..1."""

    name: str
    count: int
    share: float
    part: str


def tiles(document: Document) -> list[Tile]:
    """The figures to read first; what the run does not know is left out."""
    counts, rates = document["requests"], document["throughput"]
    lost = counts["failed"] + counts["rejected"]
    note = f"{counts['failed']:,} failed, {counts['rejected']:,} rejected" if lost else "none lost"
    out = [Tile("Completed", f"{counts['completed']:,}", f"of {counts['submitted']:,}; {note}")]
    if document["goodput_rps"] is not None:
        out.append(Tile("Goodput", f"{number(document['goodput_rps'])} req/s", "requests that met their SLO"))
        out.append(Tile("In SLO", percent(document["slo_attainment"]), "of submitted requests"))
    out.append(
        Tile("Output", f"{number(rates['output_tokens_per_s'])} tok/s", f"{number(rates['requests_per_s'])} req/s")
    )
    out.append(Tile("Input", f"{number(rates['input_tokens_per_s'])} tok/s"))
    for name, key in LATENCIES:
        spread = document[key]
        note = "" if spread["p50"] is None else f"p50 {seconds(spread['p50'])}, p90 {seconds(spread['p90'])}"
        out.append(Tile(f"{name} p99", seconds(spread["p99"]), note))
    if document["energy_j"] is not None:
        out.append(Tile("Energy", energy(document["energy_j"]), _per(document, document["energy_j"], energy)))
    if document["cost_usd"] is not None:
        basis = document.get("scenario", {}).get("cost basis")
        notes = [_per(document, document["cost_usd"], usd), basis]
        out.append(Tile("Cost", usd(document["cost_usd"]), "; ".join(note for note in notes if note)))
    return out


def _per(document: Document, total: float, read: Any) -> str:
    tokens = document["throughput"]["output_tokens_per_s"] * document["duration_s"]
    return f"{read(total / tokens * 1e6)} per million output tokens" if tokens else ""


def latencies(document: Document) -> Grid:
    """Percentiles of each latency."""
    return Grid(["", *POINTS], [[name, *(seconds(document[key][p]) for p in POINTS)] for name, key in LATENCIES])


def tiers(document: Document) -> Grid | None:
    """A row per tier; None for fewer than two."""
    if len(document["tiers"]) < 2:
        return None
    rows = [
        [
            name,
            f"{t['requests']['submitted']:,}",
            f"{t['requests']['completed']:,}",
            number(t["goodput_rps"]),
            percent(t["slo_attainment"]),
            *(seconds(t[key]["p99"]) for _, key in LATENCIES),
        ]
        for name, t in document["tiers"].items()
    ]
    headers = ["Tier", "Requests", "Completed", "Goodput, req/s", "In SLO", *(f"{n} p99" for n, _ in LATENCIES)]
    return Grid(headers, rows)


def workers(document: Document) -> Grid | None:
    """A row per worker, with the columns that a worker has a value for."""
    rows = sorted(document["workers"], key=lambda w: natural(str(w["name"])))
    keys = [(key, title) for key, title in WORKER if any(w.get(key) is not None for w in rows)]
    if all(w.get("state") != "dead" for w in rows):
        keys = [(key, title) for key, title in keys if key != "state"]
    if not rows:
        return None
    text = 1 + sum(key in ("pool", "role", "state", "hardware") for key, _ in keys)
    return Grid(
        ["Worker", *(t for _, t in keys)], [[str(w["name"]), *(_cell(w, k) for k, _ in keys)] for w in rows], text
    )


def _cell(worker: Mapping[str, Any], key: str) -> str:
    value = worker.get(key)
    if value is None:
        return "-"
    match key:
        case "utilization":
            return percent(value)
        case "energy_j":
            return energy(value)
        case "cost_usd":
            return usd(value)
        case "kv_peak_blocks" if worker.get("kv_total_blocks"):
            return percent(value / worker["kv_total_blocks"])
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, float) else str(value)


def decisions(counts: Mapping[str, Mapping[str, int]], most: int = 12) -> list[tuple[str, list[Bar]]]:
    """By decision its reasons, the commonest first; those after the first `most` together."""
    out = []
    for decision, reasons in sorted(counts.items()):
        ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ranked[:most]
        if rest := ranked[most:]:
            shown.append((f"{len(rest)} other reasons", sum(n for _, n in rest)))
        total, longest = sum(reasons.values()), max((n for _, n in shown), default=0)
        if total:
            out.append((decision, [Bar(r, n, n / longest, percent(n / total)) for r, n in shown if n]))
    return out


def errors(document: Document) -> Grid | None:
    """Messages of requests that did not complete."""
    rows = [[text, f"{n:,}"] for text, n in document.get("errors", {}).items()]
    return Grid(["Error", "Requests"], rows) if rows else None


def facts(document: Document) -> list[tuple[str, str]]:
    """What was run."""
    given = [(str(k), str(v)) for k, v in document.get("scenario", {}).items() if v is not None]
    policies = [(f"{name} policy", str(policy)) for name, policy in document.get("policies", {}).items()]
    kv = [(name.replace("_", " "), f"{n:,}") for name, n in document["kv"].items() if n is not None]
    return [
        *given,
        *policies,
        ("seed", str(document["seed"])),
        ("duration", seconds(document["duration_s"])),
        *((f"KV {name}", value) for name, value in kv),
        ("version", str(document["version"])),
    ]


def energy(joules: float) -> str:
    """`850 J`, `5.4 kJ`, `1.2 MJ`."""
    for size, unit in ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")):
        if joules >= size:
            return f"{joules / size:.3g} {unit}"
    return f"{joules:.3g} J"


def usd(value: float) -> str:
    """`$0.0125`, `$3.40`, `$1,250`."""
    return f"${value:.3g}" if value < 1 else f"${value:,.2f}" if value < 1000 else f"${value:,.0f}"
