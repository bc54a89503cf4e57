"""Builds the demo model's tokenizer: byte-level BPE in which whole numbers and the tasks' words are single tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from workers.demo.tasks import ENDINGS, HELP, MAX_NUMBER, POLITE, TASKS
from workers.demo.words import WORDS

ENDOFTEXT, IM_START, IM_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"
SPECIAL = (ENDOFTEXT, IM_START, IM_END, PAD)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Answer with the list only.",
    "You count and spell.",
    "Be brief.",
    "You are Tandem, a small demo model.",
)


def _instruction_words() -> list[str]:
    text = " ".join(
        [p for t in TASKS.values() for p in t.phrasings] + ["user assistant system", HELP, *SYSTEMS, *POLITE, *ENDINGS]
    )
    words = sorted(set(re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", text))))
    return sorted({w for word in words for w in (word, word.lower(), word.capitalize())})


def build_tokenizer() -> Tokenizer:
    """Returns the tokenizer; ids: specials, 256 bytes, then single tokens with and without a leading space.

    The vocabulary is closed under nothing but whole words (`ignore_merges`), so that every other word is read letter by
    letter; the model can then spell and repeat words that it has never seen.
    """
    words = [str(i) for i in range(MAX_NUMBER + 1)] + list(WORDS) + _instruction_words()
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *words, *(f"Ġ{w}" for w in [*words, *letters])]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys([*SPECIAL, *pieces]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return tokenizer


def save_tokenizer(directory: Path) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into `directory`; returns the tokenizer."""
    tokenizer = build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": IM_END,
        "model_max_length": 8192,
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return tokenizer
