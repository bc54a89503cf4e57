"""One front door for all generated requests, and a line at the end that says how many there were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.frontend.text import TextModel
from tests.frontend.conftest import model_dir, text  # noqa: F401
from tests.fuzz.door import Door
from tests.fuzz.share import ANSWERS, SENT


@pytest.fixture(scope="package")
def door(text: TextModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:  # noqa: F811
    """Checks at the end that nothing is left."""
    with Door(text, tmp_path_factory.mktemp("door")).running() as running:
        yield running
        running.check_rest()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SENT:
        sent = ", ".join(f"{name} {count}" for name, count in SENT.items())
        answers = ", ".join(f"{name} {count}" for name, count in sorted(ANSWERS.items()))
        terminalreporter.write_line(f"bad requests sent: {sum(SENT.values())} ({sent}); answers: {answers}")
