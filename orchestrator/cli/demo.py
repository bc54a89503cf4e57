"""`pdctl demo`: a small cluster from start to end, in a directory of its own."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.credentials import bearer
from orchestrator.cli.errors import CliError
from orchestrator.cli.globals import GLOBALS
from orchestrator.cli.replay import replay

COUNT_TO = 40
PROMPT = f"count to {COUNT_TO}"
ANSWER = " ".join(str(number) for number in range(1, COUNT_TO + 1))
REQUESTS = 60
RATE_RPS = 4.0
MAX_INPUT_TOKENS = 1024
MAX_OUTPUT_TOKENS = 64


class DemoReporter:
    """Progress on stdout, because it is what a demo shows."""

    def say(self, line: str) -> None:
        """One line of progress."""
        print(f"  {line}", flush=True)

    def ready(self, cluster: dict[str, Any]) -> None:
        """The cluster serves."""
        print(f"  OpenAI API at {cluster['http_url']}/v1, gRPC at {cluster['grpc_address']}", flush=True)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running at the end.")] = False,
    requests: Annotated[int, typer.Option(min=1, help="Requests of the sample trace to replay.")] = REQUESTS,
) -> None:
    """Start one prefill and two decode workers, ask them something, load them with a real trace, and stop them."""
    from orchestrator.cli.up import configured
    from orchestrator.control import detached
    from orchestrator.control.problem import StartError
    from orchestrator.control.rundir import RunDirectory
    from orchestrator.control.takedown import take_down

    run_dir = RunDirectory(Path(tempfile.mkdtemp(prefix="tandem-demo-")))
    GLOBALS.run_dir, GLOBALS.server = run_dir.path, None
    reporter = DemoReporter()
    heading("Starting 1 prefill and 2 decode workers on Ray; KV moves between them by NIXL")
    up = False
    try:
        cluster = detached.start(configured(None, "demo", 0, 0), run_dir, reporter)
        up = True
        heading(f"Asking over HTTP: {PROMPT!r}")
        right = ask(cluster["http_url"])
        heading(f"Replaying {requests} requests of the Azure 2023 conversation trace, {RATE_RPS:g} per second")
        replay(requests=requests, rate=RATE_RPS, max_input_tokens=MAX_INPUT_TOKENS, max_output_tokens=MAX_OUTPUT_TOKENS)
    except StartError as error:
        raise CliError(error.message, do=error.remedy) from None
    finally:
        if up and not keep:
            heading("Stopping")
            take_down(run_dir, 30.0, reporter.say)
            print("  stopped; no process is left", flush=True)
    if keep:
        flag = f"--run-dir {run_dir.path}"
        print(f"\nThe cluster runs on. Look at it with `pdctl get workers {flag}`, stop it with `pdctl down {flag}`.")
    if not right:
        raise CliError("the answer was wrong", PROMPT, f"look at the logs in {run_dir.logs}")
    if not keep:
        shutil.rmtree(run_dir.path)


def heading(text: str) -> None:
    """What happens next."""
    print(f"\n● {text}", flush=True)


def ask(url: str) -> bool:
    """Stream the answer to PROMPT from the chat endpoint to stdout; returns whether it is right."""
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": PROMPT}],
        "temperature": 0,
        "max_tokens": 256,
        "stream": True,
    }
    answer = ""
    sys.stdout.write("  ")
    for piece in stream(f"{url}/v1/chat/completions", body):
        answer += piece
        sys.stdout.write(piece)
        sys.stdout.flush()
    right = answer.strip() == ANSWER
    print(f"\n  {'✓ correct' if right else f'✗ wrong: it should be {ANSWER}'}")
    return right


def stream(url: str, body: dict[str, Any]) -> Iterator[str]:
    """Pieces of text as the server sends them; raises CliError if it refuses or breaks off."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **bearer()})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            for line in response:
                data = line.decode().removeprefix("data:").strip()
                if not line.startswith(b"data:") or data == "[DONE]":
                    continue
                chunk = json.loads(data)
                if "error" in chunk:
                    raise CliError(str(chunk["error"]["message"]), url, "look at the logs of the front door")
                yield "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    except OSError as error:
        raise CliError(f"the endpoint does not answer: {error}", url, "look at the logs of the front door") from None
