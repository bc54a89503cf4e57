"""`pdctl restart pool`."""

from __future__ import annotations

from orchestrator.cli.names import PoolArgument
from orchestrator.cli.output import Form, FormOption
from orchestrator.cli.restart.roll import BudgetOption, ForceOption, Pace, TimeoutOption, restart


def pool(
    name: PoolArgument,
    budget: BudgetOption = "60s",
    timeout: TimeoutOption = "120s",
    force: ForceOption = False,
    output: FormOption = Form.TABLE,
) -> None:
    """Restart the workers of a pool one by one, each drained first; stops at the first that fails.

    For example: pdctl restart pool decode
    """
    restart(Pace.of(budget, timeout, force), output, pool=name)
