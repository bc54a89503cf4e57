"""`pdctl set policy`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.errors import usage
from orchestrator.cli.get.policies import parameters
from orchestrator.cli.output import Form, FormOption, dump


def policy(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="admission, routing, multiplexing, …")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The policy; `pdctl get policies -o wide` lists them.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated.")
    ] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Choose the policy of a decision; it holds from the next decision on."""
    chosen = dict(_parameter(text) for text in param or ())
    with connect() as client:
        from pd.v1.admin_pb2 import SetPolicyRequest

        request = SetPolicyRequest(decision=decision, name=name, parameters_json=json.dumps(chosen))
        row = document(client.admin.SetPolicy(request))
    if output is not Form.TABLE:
        print(dump(single("Policy", row), output))
        return
    print(f"policy/{row['decision']} set to {row['name']}" + (f" ({parameters(row)})" if row["parameters"] else ""))


def _parameter(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise usage(f"{text!r} is not KEY=VALUE", "--param", "write for example --param alpha=0.5")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    if isinstance(parsed, (dict, list)) or parsed is None:
        raise usage(f"{text!r} is not a plain value", "--param", "give a number, true, false or text")
    return key, parsed
