"""`pdctl explain request`: which workers ran it, why they were chosen, how long each stage took."""

from __future__ import annotations

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import Document, document, single
from orchestrator.cli.names import RequestArgument, tell_if_one_of_several
from orchestrator.cli.output import Form, FormOption, dump
from orchestrator.cli.timeline import Timeline
from orchestrator.cli.units import duration, size


def request(request_id: RequestArgument, output: FormOption = Form.TABLE) -> None:
    """Say which workers ran a request, why, and how long each stage took."""
    with connect() as client:
        from pd.v1.admin_pb2 import NameRequest

        found = document(client.admin.DescribeRequest(NameRequest(name=request_id)))
    tell_if_one_of_several(request_id, found["request"]["request_id"])
    if output is not Form.TABLE:
        print(dump(single("RequestExplanation", found), output))
        return
    timeline = Timeline(found["stages"])
    for line in _sentences(found, timeline.total_s):
        print(line)
    if found["stages"]:
        print()
        timeline.print()


def _sentences(found: Document, total_s: float) -> list[str]:
    row = found["request"]
    lines = [
        f"Request {row['request_id']} is {row['state']}: {row['prompt_tokens']} prompt tokens, "
        f"{row['output_tokens']} output tokens in {duration(total_s)}, first after {duration(row['ttft_s'])}."
    ]
    prefill, decode = row["prefill_worker"], row["decode_worker"]
    if prefill and (row["co_located"] or prefill == decode):
        lines.append(f"Prefill and decode ran together on {prefill}: no KV moved.")
    elif prefill and decode:
        moved = f"{size(found['kv_bytes'])} of KV moved" if found["kv_bytes"] else "their engines moved the KV"
        lines.append(f"Prefill ran on {prefill}, decode on {decode}; {moved} between them.")
    elif prefill:
        lines.append(f"Prefill runs on {prefill}; no decode worker yet.")
    else:
        lines.append("No worker has it yet.")
    if found["cached_tokens"]:
        lines.append(f"{found['cached_tokens']} prompt tokens were taken from the prefix cache.")
    if row["attempt"] > 1:
        lines.append(f"This is attempt {row['attempt']}: earlier ones lost their worker or a transfer.")
    if found["error"]:
        lines.append(f"Error: {found['error']}")
    return lines
