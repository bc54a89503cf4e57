"""`pdctl generate`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.errors import usage
from orchestrator.cli.output import say
from orchestrator.cli.units import duration

if TYPE_CHECKING:
    from pd.v1.routing_pb2 import GenerateRequest


def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; `-` reads it from stdin.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Most output tokens.")] = 512,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Keep the likeliest tokens of this total mass.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw; 0 lets the front door choose.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; may be repeated.")] = None,
    system: Annotated[str, typer.Option(help="System message of the chat.")] = "",
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")
    ] = False,
    stats: Annotated[
        bool, typer.Option("--stats", help="Show tokens, and TTFT and TPOT as pdctl saw them, on stderr.")
    ] = False,
) -> None:
    """Ask the model and stream its answer to stdout."""
    if raw and system:
        raise usage("--system needs the chat template, which --raw leaves out", "pdctl generate", "drop one of the two")
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text:
        raise usage("the prompt is empty", "PROMPT", "give some text, or `-` to read stdin")
    from pd.v1.routing_pb2 import ChatMessage, ChatMessages, GenerateRequest
    from pd.v1.worker_pb2 import SamplingParameters

    sampling = SamplingParameters(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)
    request = GenerateRequest(sampling=sampling, stop=stop or [])
    if raw:
        request.prompt = text
    else:
        messages = [ChatMessage(role="system", content=system)] if system else []
        request.chat.CopyFrom(ChatMessages(messages=[*messages, ChatMessage(role="user", content=text)]))
    _stream(request, stats)


def _stream(request: GenerateRequest, stats: bool) -> None:
    begun = time.perf_counter()
    first = last = None
    tokens, reason, request_id, prompt_tokens = 0, "", "", 0
    with connect() as client:
        for reply in client.router.Generate(request):
            if reply.token_ids or reply.text:
                last = time.perf_counter()
                first = first or last
            tokens += len(reply.token_ids)
            request_id = reply.request_id or request_id
            reason = reply.finish_reason or reason
            if reply.HasField("usage"):
                tokens, prompt_tokens = reply.usage.completion_tokens, reply.usage.prompt_tokens
            sys.stdout.write(reply.text)
            sys.stdout.flush()
    sys.stdout.write("\n")
    if stats:
        ttft = duration(first - begun) if first else "-"
        tpot = duration((last - first) / (tokens - 1)) if first and last and tokens > 1 else "-"
        say(
            f"{request_id}: {prompt_tokens} prompt tokens, {tokens} output tokens, finish {reason}; TTFT {ttft}, TPOT {tpot}"
        )
