"""The demo tokenizer as shipped: lossless, whole numbers, ChatML."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from workers.demo import MODEL_DIR
from workers.demo.tokenizer import IM_END, PAD, SPECIAL, build_tokenizer
from workers.demo.words import WORDS


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))


def test_shipped_file_is_what_the_code_builds(tokenizer: Tokenizer) -> None:
    assert tokenizer.to_str() == build_tokenizer().to_str()


@pytest.mark.parametrize(
    "text",
    ["count to 40", "  two  spaces\tand\n\nlines ", "Grüße, 世界! 😀", "x" * 300, "4711 0.5 -3", "don't", "\x00\x7f"],
)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_numbers_and_words_are_single_tokens(tokenizer: Tokenizer) -> None:
    for piece in [*map(str, range(401)), *WORDS]:
        assert len(tokenizer.encode(piece).ids) == 1
        assert len(tokenizer.encode(f" {piece}").ids) == 1


def test_special_tokens_are_atomic_and_invisible(tokenizer: Tokenizer) -> None:
    for token in SPECIAL:
        assert tokenizer.encode(f"a{token}b").tokens == ["a", token, "b"]
    assert tokenizer.decode(tokenizer.encode(f"1 2{IM_END}").ids) == "1 2"


def test_transformers_reads_the_same_tokenizer_and_template(tokenizer: Tokenizer) -> None:
    auto = AutoTokenizer.from_pretrained(MODEL_DIR)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "count to 40"}]
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\ncount to 40<|im_end|>\n<|im_start|>assistant\n"
    assert auto.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == text
    ids = auto.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == tokenizer.encode(text).ids
    assert (auto.eos_token, auto.pad_token, auto.bos_token) == (IM_END, PAD, None)
    assert auto.decode(auto("Grüße 4711 apple").input_ids) == "Grüße 4711 apple"
