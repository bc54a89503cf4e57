"""`pdctl describe request`."""

from __future__ import annotations

import time

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.names import RequestArgument, tell_if_one_of_several
from orchestrator.cli.output import Form, FormOption, dump, pairs
from orchestrator.cli.timeline import Timeline
from orchestrator.cli.units import duration, size


def request(request_id: RequestArgument, output: FormOption = Form.TABLE) -> None:
    """Show a request: its state, its workers, its tokens and its stages."""
    with connect() as client:
        from pd.v1.admin_pb2 import NameRequest

        found = document(client.admin.DescribeRequest(NameRequest(name=request_id)))
    tell_if_one_of_several(request_id, found["request"]["request_id"])
    if output is not Form.TABLE:
        print(dump(single("RequestDetail", found), output))
        return
    row = found["request"]
    arrived = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["arrived_at"])) if found["arrived_at"] else "-"
    pairs(
        [
            ("ID", row["request_id"]),
            ("State", row["state"] + (f" ({row['finish_reason']})" if row["finish_reason"] else "")),
            ("Model", row["model"] or "-"),
            ("Tier", row["tier"] or "-"),
            ("Arrived", arrived),
            ("Attempt", str(row["attempt"])),
            ("Front door", row["front_door"] or "-"),
            ("Prefill worker", row["prefill_worker"] or "-"),
            ("Decode worker", row["decode_worker"] + (" (same worker)" if row["co_located"] else "") or "-"),
            ("Prompt", f"{row['prompt_tokens']} tokens, {found['cached_tokens']} from the prefix cache"),
            ("Output", f"{row['output_tokens']} of at most {row['max_tokens']} tokens"),
            ("TTFT", duration(row["ttft_s"])),
            ("KV moved", size(found["kv_bytes"])),
            *([("Error", found["error"])] if found["error"] else []),
        ]
    )
    print("Stages:" if found["stages"] else "Stages:  none yet")
    if found["stages"]:
        Timeline(found["stages"]).print(indent="  ")
