"""Detokenizing step by step equals decoding at once, for every cut and every tokenizer kind."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from orchestrator.frontend.text import InvalidRequest, TextModel
from orchestrator.frontend.text.detokenizer import Detokenizer

TEXTS = [
    "plain words",
    "héllo wörld",
    "你好，世界",
    "👋🏽 hand",
    "👨‍👩‍👧‍👦 family",
    "🇩🇪🇫🇷 flags",
    "e\u0301 combining",
    "مرحبا بالعالم",
    "שלום",
    "हिन्दी पाठ",
    "ไทย",
    "한국어 텍스트",
    "\u200bzero\u200dwidth",
    "tabs\tand\nlines\r\n",
    "   leading and trailing   ",
    "\x00\x01 control",
    "𝕬𝖑𝖕𝖍𝖆",
    "\ufffd real replacement \ufffd",
    "\U0010ffff last",
    "a\u00a0b nbsp",
    "",
    "x",
    "½ ⅓ ∑ ∞ ≠",
    "mixed 你a好b👋c",
    "\u0130\u0131 ß ſ",
    "<|im_start",
    "Ω≈ç√∫˜µ≤",
    "ᚠᛇᚻ",
    "\u202eRTL override",
    "ﬁ ligature",
    "日本語テキスト、カタカナ",
    "\ud7ff\ue000 border",
    "🧑🏿‍🚀🧑🏻‍🚀",
    "ñ n\u0303",
    "Ĳ ĳ",
    "<tool call>{}",
    "\u2028\u2029 separators",
    "a" * 300,
]


def incremental(detokenizer: Detokenizer, tokens: Sequence[int], sizes: random.Random | None = None) -> list[str]:
    pieces, i = [], 0
    while i < len(tokens):
        size = 1 if sizes is None else sizes.randint(1, 4)
        pieces.append(detokenizer.push(tokens[i : i + size]))
        i += size
    return [*pieces, detokenizer.finish()]


@pytest.mark.parametrize("content", TEXTS)
def test_every_text_comes_back(text: TextModel, model_dir: Path, content: str) -> None:
    tokens = text.encode(content)
    full = Tokenizer.from_file(str(model_dir / "tokenizer.json")).decode(tokens)
    assert full == content
    assert "".join(incremental(text.detokenizer(), tokens)) == content
    assert "".join(incremental(text.detokenizer(), tokens, random.Random(1))) == content
    assert text.decode(tokens) == content


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_tokens_equal_the_full_decode(text: TextModel, model_dir: Path, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, text.vocab_size - 1), max_size=40))
    full = Tokenizer.from_file(str(model_dir / "tokenizer.json")).decode(tokens)
    seed = data.draw(st.integers(0, 9))
    assert "".join(incremental(text.detokenizer(), tokens, random.Random(seed))) == full


def test_half_characters_are_held_back(text: TextModel) -> None:
    tokens = text.encode("👋🏽你")
    detokenizer = text.detokenizer()
    for token in tokens:
        assert "\ufffd" not in detokenizer.push([token])
    assert detokenizer.finish() == ""


def test_bytes_that_never_complete_appear_at_the_end(text: TextModel) -> None:
    head = text.encode("👋🏽")[0]
    assert text.token_bytes(head) not in (b"", "👋".encode())
    detokenizer = text.detokenizer()
    assert (detokenizer.push([head]), detokenizer.finish()) == ("", "\ufffd")


def sentencepiece_like(path: Path) -> TextModel:
    """A tokenizer that is not byte-level: words with a space mark, and byte fallback."""
    words = ["<unk>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁one", "▁two", "▁", "three", ",", "é"]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "config.json").write_text(json.dumps({"vocab_size": len(words), "eos_token_id": 1}))
    return TextModel.load(path)


def test_other_tokenizers(tmp_path: Path) -> None:
    model = sentencepiece_like(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rng = random.Random(5)
    characters = [*"aé你👋", "one"]
    for _ in range(200):
        tokens: list[int] = []
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.5:
                tokens.append(rng.choice([1, 258, 259, 261, 262, 263]))
            else:
                tokens.extend(2 + b for b in rng.choice(characters).encode())
        assert "".join(incremental(model.detokenizer(), tokens)) == tokenizer.decode(tokens), tokens
    assert model.token_bytes(258) == b" one" and model.token_bytes(2 + 0xE4) == b"\xe4"
    assert not model.has_chat_template
    with pytest.raises(InvalidRequest, match="use /v1/completions"):
        model.render_chat([{"role": "user", "content": "hi"}])


def test_other_tokenizers_stay_bounded(tmp_path: Path) -> None:
    model = sentencepiece_like(tmp_path)
    detokenizer = model.detokenizer()
    shown = sum(len(detokenizer.push([2 + 0x80])) for _ in range(1000))
    assert shown >= 990


def test_load(text: TextModel, model_dir: Path) -> None:
    end_of_text, end = text.eos_token_ids
    assert (text.token_bytes(end_of_text), text.token_bytes(end)) == (b"<|endoftext|>", b"<|im_end|>")
    assert (text.vocab_size, text.max_model_len) == (400, 128)
    assert text.token_bytes(399) == b"" and text.decode([399]) == ""
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json"):
        TextModel.load(model_dir / "nowhere")


def test_chat_template(text: TextModel) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi {{ 7 * 7 }}"}]
    assert text.render_chat(messages) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhi {{ 7 * 7 }}<|im_end|>\n<|im_start|>assistant\n"
    )
    tokens = text.apply_chat_template(messages)
    assert text.token_bytes(tokens[0]) == b"<|im_start|>"
    with pytest.raises(InvalidRequest, match="forbidden word"):
        text.render_chat([{"role": "user", "content": "forbidden"}])


def test_template_in_tokenizer_config(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    named = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "{{ bos_token }}{{ messages | tojson }}"},
    ]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "chat_template": named}))
    assert TextModel.load(tmp_path).render_chat([{"content": "é"}]) == '<s>[{"content": "é"}]'


def test_templates_run_in_a_sandbox(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    for source in ("{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__ }}"):
        (tmp_path / "chat_template.jinja").write_text(source)
        model = TextModel.load(tmp_path)
        with pytest.raises(InvalidRequest):
            model.render_chat([{"role": "user", "content": "hi"}])
