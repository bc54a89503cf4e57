"""Prompts, answers and the checker of the demo tasks."""

from __future__ import annotations

import random

import pytest

from workers.demo.tasks import PICK_HIGH, PICK_LOW, TASKS, Prompt, check, draw, held_out, numbers


def test_shares_add_up() -> None:
    assert sum(t.share for t in TASKS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("held", [False, True])
def test_prompts_stay_on_their_side_of_the_split(task: str, held: bool) -> None:
    rng = random.Random(3)
    for _ in range(50):
        prompt = draw(rng, task, held=held)
        assert held_out(prompt.text) == held
        assert (prompt.answer is None) == (task == "pick")
        if prompt.answer is not None:
            assert prompt.answer == prompt.answer.strip() != ""


@pytest.mark.parametrize("task", [t for t in TASKS if t != "pick"])
def test_only_the_exact_answer_passes(task: str) -> None:
    prompt = draw(random.Random(5), task, held=True)
    assert prompt.answer is not None
    assert check(prompt, prompt.answer)
    assert not check(prompt, prompt.answer + " 1")
    assert not check(prompt, prompt.answer[:-1])
    assert not check(prompt, "")


@pytest.mark.parametrize(
    ("output", "right"),
    [
        (numbers(PICK_LOW, 1, -1), True),
        (numbers(PICK_HIGH, 1, -1), True),
        (numbers(37, 1, -1), True),
        (numbers(PICK_LOW - 1, 1, -1), False),
        (numbers(PICK_HIGH + 1, 1, -1), False),
        (numbers(37, 2, -1), False),
        (numbers(37, 1, -1).replace("20 ", ""), False),
        (numbers(37, 0, -1), False),
        ("apple", False),
        ("", False),
    ],
)
def test_pick_is_right_for_any_number_in_range(output: str, right: bool) -> None:
    assert check(Prompt("pick", "pick a number and count down", None), output) == right


def test_numbers_includes_the_end_only_if_met() -> None:
    assert numbers(1, 4) == "1 2 3 4"
    assert numbers(3, 1, -1) == "3 2 1"
    assert numbers(2, 7, 2) == "2 4 6"
