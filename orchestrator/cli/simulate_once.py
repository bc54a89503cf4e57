"""One simulation, while its progress shows."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.cli.output import say
from orchestrator.cli.progress import Progress
from orchestrator.cli.simulate_order import Order, facts, faults
from orchestrator.cli.units import duration
from orchestrator.cli.version import package_version
from orchestrator.simulator.run import Options, Result, simulate_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.workload.notes import Notes
from orchestrator.workload.schedule import Planned, arrivals
from orchestrator.workload.shape import Shape
from orchestrator.workload.trace import TraceError


class Interrupted(Exception):
    """The user pressed Ctrl-C after so many requests had arrived."""

    def __init__(self, requests: int) -> None:
        super().__init__(requests)
        self.requests = requests


class _Counted:
    """Requests on their way into the simulation."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, planned: Iterator[Planned]) -> Iterator[Planned]:
        for self.count, request in enumerate(planned, 1):
            yield request


def simulate_once(order: Order, what: Scenario, shape: Shape, label: str, *, spans: bool = False) -> Result:
    """Run the load through the cluster. Raises CliError, TraceError and Interrupted."""
    notes, arrived = Notes(), _Counted()
    chosen = faults(order.faults, what)
    with Progress(shape.requests, label) as progress:
        options = Options(
            seed=shape.seed,
            version=package_version(),
            faults=chosen,
            spans=spans,
            facts=facts(what, shape),
            progress=lambda done, at_s: progress.reached(done, f"simulated {duration(at_s)}"),
        )
        try:
            result = simulate_scenario(what, arrived(arrivals(shape, what.max_tokens, notes)), options)
        except KeyboardInterrupt:
            raise Interrupted(arrived.count) from None
        progress.reached(len(result.outcomes), "")
    if not result.outcomes:
        raise TraceError("the trace has no requests", shape.trace, "give a trace with at least one request")
    end_s = float(result.document["duration_s"])
    late = [f"{fault.worker}@{fault.at_s:g}" for fault in chosen if fault.at_s > end_s]
    if late:
        notes_of_faults = f"the load ended after {duration(end_s)}: {', '.join(late)} did not happen"
        say(f"note: {notes_of_faults if order.sweep is None else f'{label}: {notes_of_faults}'}")
    for line in notes.lines():
        say(f"note: {line}")
    return result
