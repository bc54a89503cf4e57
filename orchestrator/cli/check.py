"""`pdctl check`."""

from __future__ import annotations

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.errors import CliError
from orchestrator.cli.output import Form, FormOption, Table, dump

TIMEOUT_S = 30.0


def check(output: FormOption = Form.TABLE) -> None:
    """Recount every KV block and lease on every worker, and the ledger; exit 1 at the first difference."""
    with connect(TIMEOUT_S) as client:
        from pd.v1.admin_pb2 import ClusterIntegrityRequest

        found = document(client.admin.CheckIntegrity(ClusterIntegrityRequest()))
    if output is not Form.TABLE:
        print(dump(single("ClusterIntegrity", found), output))
    else:
        rows = [[w["worker"], "ok" if w["ok"] else "failed", w["message"]] for w in found["workers"]]
        Table(["WORKER", "INTEGRITY", "MESSAGE"]).print([*rows, ["(ledger)", found["ledger"] or "ok", ""]])
    if not found["ok"]:
        bad = [w["worker"] for w in found["workers"] if not w["ok"]]
        where = f"on {', '.join(bad)}" if bad else f"in the ledger: {found['ledger']}"
        raise CliError("the books do not balance", where, "keep the logs of the run directory and report it")
