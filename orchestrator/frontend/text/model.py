"""The text side of the served model, read from a Hugging Face model directory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from orchestrator.frontend.text.detokenizer import ByteDetokenizer, Detokenizer, WindowDetokenizer
from orchestrator.frontend.text.problem import InvalidRequest
from orchestrator.frontend.text.template import ChatTemplate, TemplateTools
from orchestrator.frontend.text.vocabulary import Vocabulary

# A text of this length takes about as long to encode as a thread to wake (0.1 ms); longer ones would hold up every stream.
_THREAD_FROM_CHARS = 768
_THREADS = min(4, os.cpu_count() or 1)
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_UNBOUNDED_TOKENS = 1 << 30


class TextModel:
    """Tokenizer, chat template and end tokens. Safe to share among requests; `detokenizer()` is one per request."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        eos_token_ids: tuple[int, ...],
        vocab_size: int,
        max_model_len: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self.eos_token_ids = eos_token_ids
        self.vocab_size = vocab_size
        self.max_model_len = max_model_len
        self.vocabulary = Vocabulary(tokenizer, vocab_size)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tokenizer")

    @classmethod
    def load(cls, model_dir: Path) -> TextModel:
        """Read `model_dir`; raises FileNotFoundError or ValueError that say what the directory lacks."""
        path = model_dir / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"{model_dir} has no tokenizer.json: point to a Hugging Face model directory")
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        settings = _read_json(model_dir / "tokenizer_config.json")
        config = _read_json(model_dir / "config.json")
        special = _special_tokens(settings)
        source = _template_source(model_dir, settings)
        eos = _eos_token_ids(tokenizer, special, _read_json(model_dir / "generation_config.json"), config)
        lengths = [config.get("max_position_embeddings"), settings.get("model_max_length")]
        return cls(
            tokenizer,
            ChatTemplate(source, special) if source is not None else None,
            eos,
            max(int(config.get("vocab_size", 0)), tokenizer.get_vocab_size(with_added_tokens=True)),
            min((int(n) for n in lengths if n and n < _UNBOUNDED_TOKENS), default=_UNBOUNDED_TOKENS),
        )

    @property
    def has_chat_template(self) -> bool:
        return self._template is not None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, with the tokenizer's own additions (such as a start token) unless told otherwise."""
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    async def encode_async(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """`encode`, off the event loop where the text is long. The tokenizer lets go of the interpreter lock meanwhile."""
        if self.is_quick(text):
            return self.encode(text, add_special_tokens)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.encode, text, add_special_tokens)

    @staticmethod
    def is_quick(text: str) -> bool:
        """Whether `text` may be encoded on the event loop."""
        return len(text) < _THREAD_FROM_CHARS

    @property
    def template_tools(self) -> TemplateTools:
        """What the chat template does with tools."""
        return TemplateTools() if self._template is None else self._template.tools

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt text of a conversation, ready for the assistant's answer unless told otherwise; raises InvalidRequest."""
        if self._template is None:
            raise InvalidRequest("This model has no chat template: use /v1/completions with a prompt.", "messages")
        return self._template.render(messages, add_generation_prompt, tools)

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation; raises InvalidRequest."""
        return self.encode(self.render_chat(messages), add_special_tokens=False)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of all of `tokens`, without special tokens."""
        detokenizer = self.detokenizer()
        return detokenizer.push(tokens) + detokenizer.finish()

    def spell(self, tokens: Sequence[int]) -> str:
        """The text of all of `tokens`, special tokens included."""
        if self.vocabulary.byte_level:
            return b"".join([self.vocabulary.token_bytes[t] for t in tokens]).decode("utf-8", "replace")
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def token_name(self, token: int) -> str:
        """What the tokenizer calls a token; empty for an id that it does not have."""
        return str(self._tokenizer.id_to_token(token) or "")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; a half character has bytes that are no UTF-8."""
        return self.vocabulary.token_bytes[token]

    def detokenizer(self) -> Detokenizer:
        """A fresh incremental detokenizer."""
        if self.vocabulary.byte_level:
            return ByteDetokenizer(self.vocabulary)
        return WindowDetokenizer(self._tokenizer, self.vocabulary.special)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return content


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by name; each is a string or an object with `content`."""
    found = {}
    for name in _SPECIAL_NAMES:
        value = settings.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            found[name] = value
    return found


def _template_source(model_dir: Path, settings: dict[str, Any]) -> str | None:
    path = model_dir / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source = settings.get("chat_template")
    if isinstance(source, list):  # several named templates
        source = next((t["template"] for t in source if t.get("name") == "default"), None)
    return source


def _eos_token_ids(
    tokenizer: Tokenizer, special: dict[str, str], generation: dict[str, Any], config: dict[str, Any]
) -> tuple[int, ...]:
    """End tokens in the order generation config, model config, tokenizer; the model config counts only without the first."""
    declared = generation.get("eos_token_id", config.get("eos_token_id"))
    ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
    if "eos_token" in special:
        token = tokenizer.token_to_id(special["eos_token"])
        ids = [*ids, *([] if token is None else [token])]
    return tuple(dict.fromkeys(int(i) for i in ids))
