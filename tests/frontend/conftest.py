"""A tiny model directory, a scripted token service, and a real HTTP server over both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from orchestrator.core.config import Tier
from orchestrator.core.config.pools import default_tiers
from orchestrator.core.sampling import Finish
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.http.server import Bounds
from orchestrator.frontend.service import Delta, Logprob, ModelInfo
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.tiers import Tiers
from orchestrator.observability import Metrics
from tests.frontend.scripted import ScriptedService

MODEL = "tiny"
MAX_LEN = 128
TIERS = Tiers((*default_tiers(), Tier("interactive", 500.0, 50.0)))
TEMPLATE = """{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('unknown role ' + message.role) }}
    {%- endif %}
    {%- if message.content == 'forbidden' %}{{ raise_exception('forbidden word') }}{% endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
CORPUS = [
    "count to forty: one two three four five",
    "1 2 3 4 5 6 7 8 9 10",
    "héllo wörld 你好 世界 👋🏽 naïve café",
    "the end. the stop.",
]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face style directory with a byte-level BPE tokenizer and a ChatML template."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True)])
    tokenizer.add_tokens([AddedToken("<tool call>", special=False)])
    tokenizer.save(str(path / "tokenizer.json"))
    end, end_of_text = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    files = {
        "tokenizer_config.json": {"eos_token": {"content": "<|im_end|>"}, "model_max_length": 10**30},
        "config.json": {"vocab_size": 400, "max_position_embeddings": MAX_LEN, "eos_token_id": 5},
        "generation_config.json": {"eos_token_id": [end_of_text, end]},
    }
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    (path / "chat_template.jinja").write_text(TEMPLATE)
    return path


@pytest.fixture(scope="session")
def text(model_dir: Path) -> TextModel:
    return TextModel.load(model_dir)


@pytest.fixture
def service(text: TextModel) -> ScriptedService:
    return ScriptedService(ModelInfo(MODEL, MAX_LEN, text.vocab_size, text.eos_token_ids))


Script = Callable[..., list[Delta]]


@pytest.fixture
def script(text: TextModel) -> Script:
    """Deltas that say a text: `size` tokens per delta, then the end token unless `finish` is LENGTH."""

    def build(
        content: str | Sequence[int],
        *,
        size: int = 1,
        finish: Finish = Finish.STOP,
        logprobs: bool = False,
        cached: int = 0,
    ) -> list[Delta]:
        tokens = list(text.encode(content) if isinstance(content, str) else content)
        if finish is Finish.STOP:
            tokens.append(text.eos_token_ids[-1])
        deltas = []
        for i in range(0, len(tokens), size):
            part = tuple(tokens[i : i + size])
            found = tuple(Logprob(-0.25, ((t, -0.25), (t - 1, -1.5))) for t in part) if logprobs else ()
            last = finish if i + size >= len(tokens) else None
            deltas.append(Delta(i, part, found, last, cached))
        return deltas

    return build


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(scope="session")
def grammars(model_dir: Path, text: TextModel) -> GrammarGate:
    return GrammarGate.of(model_dir, text)


@pytest.fixture
async def url(service: ScriptedService, text: TextModel, metrics: Metrics, grammars: GrammarGate) -> AsyncIterator[str]:
    """The base address of a running server."""
    app = make_app(
        service,
        text,
        limits=Limits(),
        metrics=metrics,
        tiers=TIERS,
        grammars=grammars,
    )
    server, port = await start_http(app, "127.0.0.1", 0, bounds=Bounds(max_body_bytes=65536))
    yield f"http://127.0.0.1:{port}"
    await server.close()


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    """The official client."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=10) as client:
        yield client


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for `condition`; fails after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
