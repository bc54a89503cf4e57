"""`pdctl simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import usage
from orchestrator.cli.load_options import MaxInputOption, MaxOutputOption, RateOption, RequestsOption, SpeedupOption
from orchestrator.cli.output import Form, FormOption


def simulate(
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="A cluster.yaml; the embedded default if absent."),
    ] = None,
    trace: Annotated[
        str,
        typer.Option(
            metavar="PATH|sample|synthetic:NAME", help="A trace or generator; names: `pdctl trace synthesize --help`."
        ),
    ] = "sample",
    requests: RequestsOption = None,
    rate: RateOption = None,
    speedup: SpeedupOption = None,
    start_s: Annotated[float, typer.Option(min=0.0, help="Skip this much of the trace, in seconds.")] = 0.0,
    duration_s: Annotated[float | None, typer.Option(help="Take this much of the trace, in seconds.")] = None,
    max_input_tokens: MaxInputOption = None,
    max_output_tokens: MaxOutputOption = None,
    tiers: Annotated[
        str | None, typer.Option(metavar="NAME:W,…", help="Share of each tier among requests that name none.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same report.")] = 0,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="DECISION=NAME[,KEY=VALUE…]", help="Another policy than the file's; may be repeated."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value below spec: pools.decode.count=6. Repeatable."),
    ] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(metavar="WORKER@S[+S]", help="The worker dies after S seconds [and is back after S]. Repeatable."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="KEY=VALUES", help="One run per value: rate=1:10:1, pools.decode.count=2,4,6."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots (.html), or the JSON report (.json).")
    ] = None,
    chrome: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a trace for Perfetto or chrome://tracing.")
    ] = None,
    from_record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Decide what a live cluster recorded again, and compare.")
    ] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Simulate a cluster under a workload, with the policies that the live cluster runs.

    The cluster.yaml names hardware per pool (`hardware: h100`) and, below `simulation:`, a model of the catalog. Nothing is started and
    no GPU is needed. For example:

    pdctl simulate -f examples/h200-node.yaml --trace synthetic:poisson --requests 2000 --rate 20 --report report.html

    pdctl simulate -f examples/h200-node.yaml --rate 20 --sweep policies.multiplexing.budgetTokens=512,2048,8192
    """
    if from_record is not None:
        from orchestrator.cli.simulate_record import from_record_command

        raise typer.Exit(from_record_command(from_record, policy or [], output))
    for path in (report, chrome):
        if path is not None and not path.absolute().parent.is_dir():
            raise usage("no such directory", str(path.absolute().parent), "create it, or write elsewhere")
    if report is not None and report.suffix not in (".html", ".json"):
        raise usage(f"{report.name} is neither .html nor .json", "--report", "name a file of one of these kinds")
    if sweep is not None and chrome is not None:
        raise usage("--sweep makes many runs, --chrome shows one", "pdctl simulate", "give one of them")
    from orchestrator.cli.simulate_order import Order
    from orchestrator.cli.simulate_run import run
    from orchestrator.workload.shape import Shape

    shape = Shape(
        trace, requests, rate, speedup, seed, max_input_tokens, max_output_tokens, start_s, duration_s, tiers=tiers
    )
    run(Order(file, shape, policy or [], change or [], fail or [], sweep, report, chrome, output))
