"""`pdctl restart worker`."""

from __future__ import annotations

from orchestrator.cli.names import WorkerArgument
from orchestrator.cli.output import Form, FormOption
from orchestrator.cli.restart.roll import BudgetOption, ForceOption, Pace, TimeoutOption, restart


def worker(
    name: WorkerArgument,
    budget: BudgetOption = "60s",
    timeout: TimeoutOption = "120s",
    force: ForceOption = False,
    output: FormOption = Form.TABLE,
) -> None:
    """Restart a worker without a client noticing: drain it, replace its processes, wait until it is ready and warm, let it take work.

    For example: pdctl restart worker decode-0 --budget 5m
    """
    restart(Pace.of(budget, timeout, force), output, name=name)
