"""`pdctl replay`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import CliError, ExitCode, usage
from orchestrator.cli.files import write_text
from orchestrator.cli.load_options import MaxInputOption, MaxOutputOption, RateOption, RequestsOption, SpeedupOption
from orchestrator.cli.output import Form, FormOption, dump, say


def replay(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="OpenAI-compatible endpoint; the running cluster if absent.")
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
    seed: Annotated[int, typer.Option(min=0, help="Seed of arrivals, prompts and sampling.")] = 0,
    max_input_tokens: MaxInputOption = None,
    max_output_tokens: MaxOutputOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests at once.")] = 256,
    tier: Annotated[
        str | None,
        typer.Option(help="Service tier of all requests; the trace's own, or the cluster's default, if absent."),
    ] = None,
    ttft_slo_ms: Annotated[float | None, typer.Option(help="TTFT bound; the tier's if absent.")] = None,
    tpot_slo_ms: Annotated[float | None, typer.Option(help="TPOT bound; the tier's if absent.")] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Make outputs as long as the trace says; needs a server that knows it.")
    ] = False,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="Sampling temperature.")] = 0.0,
    model: Annotated[str | None, typer.Option(help="The model to ask for; the endpoint's first if absent.")] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which a request counts as failed.")] = 600.0,
    report_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON report there too.")] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Replay a trace against an endpoint and report TTFT, TPOT, ITL, E2E, goodput and errors.

    Latencies count from when a request was due, so neither a server that stalls nor a client that is late can hide a backlog; how late
    requests were sent stands in the report, and a client that was the bottleneck is warned of. Ctrl-C reports what has ended.
    """
    for name, value in (
        ("--rate", rate),
        ("--speedup", speedup),
        ("--ttft-slo-ms", ttft_slo_ms),
        ("--tpot-slo-ms", tpot_slo_ms),
    ):
        if value is not None and not (value > 0 and (math.isfinite(value) or name == "--rate")):
            raise usage(f"{value:g} is not above 0", name, "give a positive number")
    if rate is not None and speedup is not None:
        raise usage("--rate and --speedup both set the pace", "pdctl replay", "give one of them")
    if report_file is not None and not report_file.absolute().parent.is_dir():
        raise usage(
            "no such directory", str(report_file.absolute().parent), "create it, or write --report-file elsewhere"
        )
    from orchestrator.cli.replay_run import Order, run
    from orchestrator.workload.schedule import Shape
    from orchestrator.workload.trace import TraceError

    shape = Shape(trace, requests, rate, speedup, seed, max_input_tokens, max_output_tokens)
    order = Order(
        url=url,
        shape=shape,
        concurrency=concurrency,
        model=model,
        tier=tier,
        ttft_slo_s=None if ttft_slo_ms is None else ttft_slo_ms / 1000,
        tpot_slo_s=None if tpot_slo_ms is None else tpot_slo_ms / 1000,
        ignore_eos=ignore_eos,
        temperature=temperature,
        timeout_s=timeout,
    )
    try:
        report, dropped, faults = run(order)
    except TraceError as error:
        raise CliError(error.what, error.where, error.do) from error
    for fault in faults:
        say(f"warning: {fault}")
    if dropped:
        say(f"interrupted: {dropped} requests were in flight or not yet sent, and are left out")
    if report_file is not None:
        write_text(report_file, dump(report, "json"))
    if output is Form.TABLE:
        from orchestrator.cli.report_table import print_report

        print_report(report)
    else:
        print(dump(report, output))
    if dropped:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not report["requests"]["completed"]:
        first = next(iter(report["errors"]), "unknown")
        raise CliError("no request completed", f"most often: {first}", "correct that and run again")
