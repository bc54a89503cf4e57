"""`pdctl set role`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.names import WorkerArgument
from orchestrator.cli.output import Form, FormOption, dump


class RoleName(StrEnum):
    """Roles of a worker."""

    PREFILL = "prefill"
    DECODE = "decode"
    BOTH = "both"


def role(
    worker: WorkerArgument,
    new: Annotated[RoleName, typer.Argument(metavar="ROLE", help="prefill, decode or both.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Give a running worker another role; requests that run there go on."""
    with connect() as client:
        from pd.v1.admin_pb2 import SetRoleRequest

        row = document(client.admin.SetRole(SetRoleRequest(worker=worker, role=new)))
    print(f"worker/{worker} role set to {row['role']}" if output is Form.TABLE else dump(single("Worker", row), output))
