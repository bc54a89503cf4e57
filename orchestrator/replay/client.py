"""One streaming completion over HTTP, timed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from orchestrator.replay.endpoint import Endpoint
from orchestrator.report.outcome import Outcome, Verdict
from orchestrator.workload.schedule import Planned

REFUSED = (429, 503)


@dataclass(frozen=True, slots=True)
class Slo:
    """Bounds in seconds; None where there is none."""

    ttft_s: float | None = None
    tpot_s: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What all requests of a run have in common. SLOs in seconds; None where there is none.

    Requests are of `tier` or, without one, of the trace's, or else of `default_tier`; `tiers` holds the bounds of each where they are
    known.
    """

    tier: str | None = None
    tiers: Mapping[str, Slo] = field(default_factory=dict)
    default_tier: str | None = None
    ttft_slo_s: float | None = None
    tpot_slo_s: float | None = None
    ignore_eos: bool = False
    temperature: float = 0.0
    seed: int = 0
    timeout_s: float = 600.0
    request_prefix: str = "replay"


class _Stream:
    """Times of the deliveries of one answer, on the monotonic clock in seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.end_s: float | None = None
        self.tokens: int | None = None
        self.error = ""

    def feed(self, line: bytes, now_s: float) -> bool:
        """Take one SSE line; False when the stream is over."""
        if not line.startswith(b"data:"):
            return True
        data = line[5:].strip()
        if data == b"[DONE]":
            return False
        event = orjson.loads(data)
        if "error" in event:
            self.error = message_of(event)
            return False
        if usage := event.get("usage"):
            self.tokens = usage.get("completion_tokens")
        for choice in event.get("choices") or ():
            self.end_s = now_s
            # A last chunk may carry only the reason why it ended.
            if choice.get("text") or not self.times:
                self.times.append(now_s)
        return True


def message_of(body: Any) -> str:
    """The message of an OpenAI error envelope, or whatever there is."""
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


class CompletionClient:
    """Sends planned requests to `/v1/completions` as token ids."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint, settings: Settings) -> None:
        self._session = session
        self._endpoint = endpoint
        self._settings = settings
        self._url = f"{endpoint.base_url}/v1/completions"

    async def send(
        self, planned: Planned, ids: list[int], start_s: float, on_sent: Callable[[float], None] = lambda at_s: None
    ) -> Outcome:
        """Run one request that was due at `start_s + planned.at_s` on the monotonic clock; never raises for its failure.

        `on_sent` gets the time at which it leaves.
        """
        stream = _Stream()
        body, headers = orjson.dumps(self._body(planned, ids)), self._headers(planned)
        verdict, error = Verdict.COMPLETED, ""
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        on_sent(time.monotonic())
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=timeout) as response:
                if response.status == 200:
                    await _read(response, stream)
                else:
                    verdict = Verdict.REJECTED if response.status in REFUSED else Verdict.FAILED
                    error = f"HTTP {response.status}: {_text_of(await response.text())}"
        except TimeoutError:
            error = f"no answer within {self._settings.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:300]
        error = error or stream.error or ("" if stream.times else "the answer had no tokens")
        if error and verdict is Verdict.COMPLETED:
            verdict = Verdict.FAILED
        return self._outcome(planned, stream, verdict, error, start_s, _at_least_one(stream, verdict))

    def _outcome(
        self, planned: Planned, stream: _Stream, verdict: Verdict, error: str, start_s: float, tokens: int
    ) -> Outcome:
        due_s, done = start_s + planned.at_s, verdict is Verdict.COMPLETED
        end_s = stream.end_s if done and stream.end_s is not None else time.monotonic()
        slo = self._slo(planned)
        gaps = tuple(b - a for a, b in zip(stream.times, stream.times[1:], strict=False)) if done else ()
        return Outcome(
            verdict,
            end_s - start_s,
            self._tier(planned) or "default",
            planned.input_tokens,
            tokens,
            stream.times[0] - due_s if done else None,
            end_s - due_s if done else None,
            gaps,
            slo.ttft_s,
            slo.tpot_s,
            error,
            planned.clipped,
        )

    def _tier(self, planned: Planned) -> str | None:
        return self._settings.tier or planned.tier or self._settings.default_tier

    def _slo(self, planned: Planned) -> Slo:
        """The bounds of the command line, else those of the request's tier."""
        given, tier = self._settings, self._settings.tiers.get(self._tier(planned) or "", Slo())
        return Slo(
            tier.ttft_s if given.ttft_slo_s is None else given.ttft_slo_s,
            tier.tpot_s if given.tpot_slo_s is None else given.tpot_slo_s,
        )

    def _headers(self, planned: Planned) -> dict[str, str]:
        settings = self._settings
        headers = {
            "Content-Type": "application/json",
            "X-Request-Id": f"{settings.request_prefix}-{planned.index}",
        }
        if tier := self._tier(planned):
            headers["x-llm-d-inference-objective"] = tier
        # Bounds of a tier are the server's own: only those of the command line are sent.
        if settings.ttft_slo_s is not None:
            headers["x-llm-d-slo-ttft-ms"] = f"{settings.ttft_slo_s * 1000:g}"
        if settings.tpot_slo_s is not None:
            headers["x-llm-d-slo-tpot-ms"] = f"{settings.tpot_slo_s * 1000:g}"
        return headers

    def _body(self, planned: Planned, ids: list[int]) -> dict[str, Any]:
        body = {
            "model": self._endpoint.model,
            "prompt": ids,
            "max_tokens": planned.output_tokens,
            "temperature": self._settings.temperature,
            "seed": self._settings.seed + planned.index,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return body | {"ignore_eos": True} if self._settings.ignore_eos else body


async def _read(response: aiohttp.ClientResponse, stream: _Stream) -> None:
    async for line in response.content:
        if not stream.feed(line, time.monotonic()):
            return
    stream.error = stream.error or "the stream ended without [DONE]"


def _at_least_one(stream: _Stream, verdict: Verdict) -> int:
    # Without usage the number of deliveries is the best count there is.
    return (stream.tokens if stream.tokens is not None else len(stream.times)) if verdict is Verdict.COMPLETED else 0


def _text_of(body: str) -> str:
    try:
        return message_of(json.loads(body))
    except ValueError:
        return body.strip()[:300]
