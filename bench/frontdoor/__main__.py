"""Front doors side by side under paced streams: CPU per token and per request, and the latency they add.

200 streams of 64 tokens after prompts of 1,024 token ids (4 KiB), from 1 prefill and 8 decode backends whose steps last 20 ms and
are not aligned. Compared in alternation: our front door with round robin and with its default routing, vllm-router and
sglang-router in their PD modes (round robin), and a bare uvloop relay to the decode backends. `direct` is a client that does both
legs itself. CPU is utime + stime of the process tree; per token and per request come from runs of two output lengths at the same
number of tokens per second (see `costs`). Time spent in backends, which they note down per request, is taken out of the time to
first token; what is left less the same of `direct` (both legs for vllm-router; the cheaper prefill leg alone for those that need
one leg before the first token, or send both at once) is the added TTFT.
"""

from __future__ import annotations

import tempfile
import timeit
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

from bench.frontdoor.costs import Costs, chosen, costs
from bench.frontdoor.measure import Array, Run, Runner, Shape
from bench.frontdoor.system import System
from bench.frontdoor.systems import PEERS, direct, http_backends, peer, relay, session_backends, tandem
from bench.harness import Bench, Check, run
from bench.peers.install import HOW
from bench.peers.setting import Backends
from orchestrator.frontend.text import TextModel
from workers.demo import MODEL_DIR

STREAMS, PROMPT_TOKENS = 200, 1024
TOKENS, MORE_TOKENS = 64, 192
"""Output lengths. Shorter ones would warm the caches with requests, and count as cost of tokens what requests save by that."""
PIECES = 13
OURS = ("tandem round_robin", "tandem prefix_aware")


def pieces(text: TextModel) -> tuple[list[str], list[int]]:
    """Tokens that stand for a word of their own, as text and as ids."""
    ids = [i for i in range(100, text.vocab_size) if text.decode([i]).strip().isalpha() and text.decode([i])[0] == " "]
    chosen = ids[:PIECES]
    return [text.decode([i]) for i in chosen], chosen


def tokenising(bench: Bench, text: TextModel) -> None:
    """What a prompt of 4 KiB text costs before anything else happens."""
    words = (Path(__file__).parents[2] / "README.md").read_text()
    prompt = (words * (4096 // len(words) + 1))[:4096]
    repeats = 5 if bench.quick else 20
    seconds = min(timeit.repeat(lambda: text.encode(prompt), number=4, repeat=repeats)) / 4
    tokens = len(text.encode(prompt))
    bench.note(f"tokenising a prompt of 4 KiB of text ({tokens} tokens) costs {1e6 * seconds:.0f} µs more per request")


def start(bench: Bench, setting: Backends, logs: Path, running: list[System]) -> None:
    """Start what is compared; `running` gets each as soon as it serves, so that it can be ended."""
    http = http_backends(setting, logs)
    running.append(direct(http))
    running.append(relay(http, logs))
    for name in PEERS:
        system = peer(name, http, logs)
        if system is None:
            bench.figure(system=name, version=f"skipped, not installed: {HOW}")
        else:
            running.append(system)
    workers = session_backends(setting, logs)
    running.append(tandem("round_robin", workers, logs))
    running.append(tandem("prefix_aware", workers, logs))


def end(running: list[System]) -> None:
    """End every process, routers first."""
    for system in running:
        if system.process is not None:
            system.process.end()
    for backends in {id(system.backends): system.backends for system in running}.values():
        backends.end()


def ms(values: Array, percentile: float) -> float:
    """A percentile in ms; NaN of nothing."""
    return 1e3 * float(np.percentile(values, percentile)) if len(values) else float("nan")


def added_ms(name: str, system: Run, reference: Run, percentile: float) -> float:
    """What the system adds to the time to first token."""
    base = reference.outside_s if name in ("direct", "vllm-router") else reference.one_leg_s
    return ms(system.outside_s, percentile) - ms(base, percentile)


def report(bench: Bench, system: System, rounds: list[list[Run]], references: list[Run], idle_s: float) -> Costs | None:
    """A row: medians over the rounds, and the calmest round where the columns say calm."""
    usual = [min(runs, key=lambda run: run.shape.tokens) for runs in rounds]
    name = system.name

    def over(value: list[float]) -> float:
        return median(value)

    added50 = [added_ms(name, run, ref, 50) for run, ref in zip(usual, references, strict=True)]
    added99 = [added_ms(name, run, ref, 99) for run, ref in zip(usual, references, strict=True)]
    delays = [(ms(run.delay_s, 50), ms(run.delay_s, 99)) for run in usual]
    itl99 = [ms(run.gaps_s, 99) - ms(ref.gaps_s, 99) for run, ref in zip(usual, references, strict=True)]
    itl50 = [ms(run.gaps_s, 50) - ms(ref.gaps_s, 50) for run, ref in zip(usual, references, strict=True)]
    row: dict[str, object] = {"system": name, "version": system.version}
    found = None
    if system.process is not None:
        found = costs(chosen(rounds, 0.5), idle_s)
        best = costs(chosen(rounds, 0.0), idle_s)
        row |= {
            "cpu_us_per_token": 1e6 * found.token_s,
            "calm": 1e6 * best.token_s,
            "cpu_us_per_request": 1e6 * found.request_s,
            "calm_request": 1e6 * best.request_s,
            "all_cpu_us_per_token": 1e6 * found.whole_s,
            "calm_all": 1e6 * best.whole_s,
            "idle_ms_per_s": 1e3 * idle_s,
        }
    if name == "direct":
        row |= {"ttft_outside_p50_ms": over([ms(run.outside_s, 50) for run in usual])}
    else:
        row |= {
            "ttft_outside_p50_ms": over([ms(run.outside_s, 50) for run in usual]),
            "added_ttft_p50_ms": over(added50),
            "added_ttft_p99_ms": over(added99),
            "calm_p50_ms": min(added50),
            "calm_p99_ms": min(added99),
            "added_itl_p50_ms": over(itl50),
            "added_itl_p99_ms": over(itl99),
        }
    row |= {
        "token_delay_p50_ms": over([d[0] for d in delays]),
        "token_delay_p99_ms": over([d[1] for d in delays]),
        "requests_per_s": over([run.requests / run.seconds for run in usual]),
        "tokens_per_s": over([run.tokens / run.seconds for run in usual]),
        "wrong": sum(len(run.wrong) for runs in rounds for run in runs),
    }
    bench.figure(**row)
    return found


def starved(bench: Bench, name: str, rounds: list[list[Run]], step_s: float) -> None:
    """Say so where a system did not keep the pace: its tokens then came in fewer and larger pieces, at another cost."""
    for one in (one for runs in rounds for one in runs):
        # A stream waits up to a step before its first token.
        pace = one.shape.streams / step_s * one.shape.tokens / (one.shape.tokens + 1)
        if one.tokens / one.seconds < 0.9 * pace:
            rate = one.tokens / one.seconds
            bench.note(f"{name}, {one.shape.tokens} tokens each: {rate:.0f} tokens/s, not {pace:.0f}: overload")


def judge(bench: Bench, found: dict[str, Costs]) -> None:
    """The targets, against the better of the peers that are installed."""
    peers = [found[name] for name in PEERS if name in found]
    if not peers:
        return
    for ours in OURS:
        mark = ours.removeprefix("tandem ")
        token = min(peer.token_s for peer in peers)
        request = min(peer.request_s for peer in peers)
        whole = min(peer.whole_s for peer in peers)
        bench.check(Check(f"{mark}.cpu_per_token_of_best_peer", found[ours].token_s / token, "<=", 0.6))
        bench.check(Check(f"{mark}.all_cpu_per_token_of_best_peer", found[ours].whole_s / whole, "<=", 0.6))
        bench.check(Check(f"{mark}.cpu_per_request_of_best_peer", found[ours].request_s / request, "<=", 1.0))


def measure(bench: Bench) -> None:
    text = TextModel.load(MODEL_DIR)
    words, ids = pieces(text)
    setting = Backends(words, ids)
    seconds, rounds = (0.8, 1) if bench.quick else (2.0, 3)
    shapes = [Shape(STREAMS, tokens, PROMPT_TOKENS, seconds) for tokens in (TOKENS, MORE_TOKENS)]
    running: list[System] = []
    results: dict[str, list[list[Run]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        try:
            start(bench, setting, Path(directory), running)
            runner = Runner(setting, Path(directory), bench.seed)
            idle_s = 1.0 if bench.quick else 3.0
            before = runner.idle(running, idle_s)
            for i in range(rounds):
                turn = i * 2 % len(running)
                for system in running[turn:] + running[:turn]:
                    chosen = shapes[:1] if system.process is None else shapes
                    results[system.name].append([runner.run(system, shape) for shape in chosen])
            # Some work goes on for a while after the start.
            idle = {name: min(cpu, before[name]) for name, cpu in runner.idle(running, idle_s).items()}
        finally:
            end(running)
    references = [runs[0] for runs in results["direct"]]
    found = {}
    for system in running:
        cost = report(bench, system, results[system.name], references, idle[system.name])
        if cost is not None:
            found[system.name] = cost
        starved(bench, system.name, results[system.name], setting.step_s)
    judge(bench, found)
    rows = {row["system"]: row for row in bench.figures}
    for name in OURS:
        mark = name.removeprefix("tandem ")
        bench.check(Check(f"{mark}.added_ttft_p50_ms", rows[name]["added_ttft_p50_ms"], "<=", 1.0))
        bench.check(Check(f"{mark}.added_ttft_p99_ms", rows[name]["added_ttft_p99_ms"], "<=", 3.0))
    bench.check(Check("wrong_streams", sum(row.get("wrong", 0) for row in bench.figures), "==", 0))
    for name, each in results.items():
        for line in {wrong for runs in each for one in runs for wrong in one.wrong[:1]}:
            bench.note(f"{name}: {line}")
    tokenising(bench, text)
    lengths = f"{TOKENS} and {MORE_TOKENS} tokens"
    bench.note(
        f"{STREAMS} streams, {rounds} round(s) of {seconds:g} s, medians over them; CPU from outputs of {lengths}"
    )


if __name__ == "__main__":
    run("frontdoor", measure, __doc__)
