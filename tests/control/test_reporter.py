"""What a launcher in the background tells whoever started it."""

from __future__ import annotations

import json
import os

from orchestrator.control.detached import PipeReporter


def test_progress_and_the_result_go_through_the_pipe() -> None:
    read_end, write_end = os.pipe()
    reporter = PipeReporter(write_end)
    reporter.say("ray: starting")
    reporter.ready({"name": "c"})
    with os.fdopen(read_end) as lines:
        assert [json.loads(line) for line in lines] == [{"say": "ray: starting"}, {"ready": {"name": "c"}}]


def test_cluster_whose_starter_is_gone_starts_all_the_same() -> None:
    read_end, write_end = os.pipe()
    reporter = PipeReporter(write_end)
    os.close(read_end)
    reporter.say("ray: starting")
    reporter.ready({"name": "c"})
