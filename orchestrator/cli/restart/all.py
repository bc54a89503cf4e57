"""`pdctl restart all`."""

from __future__ import annotations

from orchestrator.cli.output import Form, FormOption
from orchestrator.cli.restart.roll import BudgetOption, ForceOption, Pace, TimeoutOption, restart


def all_workers(
    budget: BudgetOption = "60s",
    timeout: TimeoutOption = "120s",
    force: ForceOption = False,
    output: FormOption = Form.TABLE,
) -> None:
    """Restart every worker one by one, each drained first, so that no client notices; stops at the first that fails.

    For example, to let an engine setting that was applied hold: pdctl apply -f my.yaml && pdctl restart all
    """
    restart(Pace.of(budget, timeout, force), output)
