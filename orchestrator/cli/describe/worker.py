"""`pdctl describe worker`."""

from __future__ import annotations

import time

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import Document, document, single
from orchestrator.cli.names import WorkerArgument
from orchestrator.cli.output import Form, FormOption, Table, dump, pairs
from orchestrator.cli.units import age, duration, share, size


def worker(
    name: WorkerArgument,
    output: FormOption = Form.TABLE,
) -> None:
    """Show a worker: where it runs, its engine, its load and what happened to it."""
    with connect() as client:
        from pd.v1.admin_pb2 import NameRequest

        found = document(client.admin.DescribeWorker(NameRequest(name=name)))
    if output is not Form.TABLE:
        print(dump(single("WorkerDetail", found), output))
        return
    _print(found["worker"], found["description"] or {}, found["events"])


def _print(row: Document, engine: Document, events: list[Document]) -> None:
    pairs(
        [
            ("Name", row["name"]),
            ("Pool", row["pool"]),
            ("Role", row["role"]),
            ("State", row["state"] + (f" ({row['message']})" if row["message"] else "")),
            ("Node", row["node"] or "-"),
            ("Address", row["address"] or "-"),
            ("PID", str(row["pid"] or "-")),
            ("Incarnation", str(row["incarnation"])),
            ("Restarts", str(row["restarts"])),
            ("Age", age(row["age_s"])),
        ]
    )
    if engine:
        print("Engine:")
        versions = ", ".join(f"{k} {v}" for k, v in sorted(engine["versions"].items()))
        pairs(
            [
                ("Model", f"{engine['model'] or '-'}, at most {engine['max_model_len']} tokens"),
                ("Kind", f"{engine['engine']} on {engine['device'] or '-'}, {engine['dtype']}"),
                ("KV block", f"{engine['block_tokens']} tokens, {size(engine['block_bytes'])}"),
                ("KV layout", engine.get("kv_layout") or "-"),
                ("Transport", engine["transport"] or "-"),
                ("Session", engine.get("session_address") or "-"),
                ("Versions", versions or "-"),
            ],
            "  ",
        )
    print("Load:")
    pairs(
        [
            ("Requests", f"{row['running']} running, {row['waiting']} waiting"),
            ("KV blocks", share(row["kv_used_blocks"], row["kv_total_blocks"])),
            ("Of these", f"{row['leased_blocks']} leased, {row['reserved_blocks']} reserved"),
            ("Step", duration(row["step_time_s"])),
            (
                "Tokens",
                f"{row['prompt_tokens']} prompt ({row['cached_prompt_tokens']} cached), {row['generated_tokens']} out",
            ),
            (
                "KV pulled",
                f"{size(row['kv_bytes_pulled'])} in {row['kv_pulls']} transfers, {row['kv_pull_failures']} failed",
            ),
            ("Preemptions", str(row["preemptions"])),
            ("Expired leases", str(row["lease_expiries"])),
        ],
        "  ",
    )
    print("Events:" if events else "Events:  none")
    if events:
        table = Table(["  AGE", "REASON", "MESSAGE"])
        table.print([[f"  {age(time.time() - e['at'])}", e["reason"], e["message"]] for e in events])
