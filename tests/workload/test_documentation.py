"""The page on traces names what there is, with the figures in use."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from orchestrator.workload.columns import FORMS
from orchestrator.workload.lengths import LENGTHS, LogNormal
from orchestrator.workload.objects import KEYS
from orchestrator.workload.parameters import GENERATORS

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


def _row(name: str) -> list[str]:
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_form_and_generator_is_there() -> None:
    for form in FORMS:
        assert all(f"`{column}`" in PAGE for column in form.needed), form.name
    assert f"`{','.join(KEYS)}`" in PAGE
    for name, parameters in GENERATORS.items():
        row = " ".join(_row(f"synthetic:{name}"))
        for parameter in parameters:
            assert f"`{parameter.name}`" in (row if parameter.name in ("cv", "period_s", "amplitude") else PAGE)
            assert parameter.default is None or f"({parameter.default})" in PAGE.replace("`", "")


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_have_the_figures_of_the_page(name: str) -> None:
    _, tokens_in, tokens_out, drawn, *_ = _row(name)
    values = LENGTHS[name].draw(np.random.default_rng(0), 200_000)
    for cell, normal, shown, tokens in zip(
        (tokens_in, tokens_out), (LENGTHS[name].input, LENGTHS[name].output), drawn.split(";"), values, strict=True
    ):
        assert LogNormal(*map(float, cell.split(", "))) == normal  # type: ignore[arg-type]
        mean, median = map(float, shown.split(", "))
        assert tokens.mean() == pytest.approx(mean, rel=0.015) and np.median(tokens) == pytest.approx(median, rel=0.01)


def test_every_length_of_the_page_is_there() -> None:
    table = PAGE.partition("\n| lengths |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == list(LENGTHS)
