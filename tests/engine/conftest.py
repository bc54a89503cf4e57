from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.models import VOCABULARY, reference, save_model
from workers.engine.torch import TorchEngine

OUTPUT_TOKENS = 24


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Case:
    """A model directory with prompts and the tokens that transformers answers with."""

    directory: Path
    model: Any
    prompts: list[list[int]]
    answers: list[list[int]]


def make_case(directory: Path, family: str, prompts: list[list[int]], **changes: Any) -> Case:
    model = save_model(directory, family, **changes)
    answers = []
    for prompt in prompts:
        tokens, gaps = reference(model, prompt, OUTPUT_TOKENS)
        assert min(gaps) > 1e-4, "a tie: choose other prompts"
        answers.append(tokens)
    return Case(directory, model, prompts, answers)


def make_prompts(lengths: tuple[int, ...], shared: int = 0, seed: int = 1) -> list[list[int]]:
    """Random prompts; the first `shared` tokens are equal."""
    random = np.random.default_rng(seed)
    head = random.integers(1, VOCABULARY, shared).tolist()
    return [head + random.integers(1, VOCABULARY, n - shared).tolist() for n in lengths]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Eight prompts of uneven lengths, around block boundaries, that share 35 tokens."""
    prompts = make_prompts((36, 48, 49, 63, 64, 65, 120, 203), shared=35)
    return make_case(tmp_path_factory.mktemp("llama"), "llama", prompts)


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Case:
    prompts = make_prompts((1, 15, 16, 17, 90))
    return make_case(tmp_path_factory.mktemp("qwen3"), "qwen3", prompts, tie_word_embeddings=True)


@pytest.fixture
def engine_of() -> Callable[..., TorchEngine]:
    """Build an engine; pool and cache are small unless told."""

    def build(case: Case, **options: Any) -> TorchEngine:
        return TorchEngine(case.directory, **{"kv_blocks": 128, **options})

    return build
