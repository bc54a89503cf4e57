"""Log lines as text and as JSON, and the access line."""

import io
import json
import logging

import pytest

from orchestrator.control.logfile import log_to, shape_log
from orchestrator.core.config import LogFormat, LogLevel, Observability
from orchestrator.core.request import RequestState
from orchestrator.frontend.records import RequestRecord
from orchestrator.observability.access_log import AccessLog
from orchestrator.observability.logs import about, configure
from orchestrator.observability.trace import Trace


@pytest.fixture
def root():
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], level = before
    logger.setLevel(level)


def record(**changes):
    made = RequestRecord("r-1", "demo", "fast", 3, 8, 1.7e9, trace=Trace(0xAB, 0xCD), **changes)
    made.output = range(4)
    return made


def test_json_lines(root):
    out = io.StringIO()
    configure("json", "info", "front-door-0", out)
    log = logging.getLogger("some.where")
    log.info("attempt %d\nended", 1, extra=about(record(), "decode-0"))
    log.debug("unheard")
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("failed")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "some.where",
        "message": "attempt 1\nended",
        "process": "front-door-0",
        "request_id": "r-1",
        "attempt": 1,
        "worker": "decode-0",
        "trace_id": f"{0xAB:032x}",
    }
    assert "KeyError: 'x'" in second["exception"]


def test_text_lines_say_nothing_twice(root):
    out = io.StringIO()
    configure("text", "warning", "front-door-0", out)
    logging.getLogger("a").warning("request r-1: lost", extra={"request_id": "r-1", "worker": "decode-0"})
    logging.getLogger("a").info("unheard")
    (line,) = out.getvalue().splitlines()
    assert line.endswith("WARNING a request r-1: lost worker=decode-0")


def test_the_access_line(root):
    out = io.StringIO()
    configure("json", "info", "front-door-0", out)
    over = record(prefill_worker="p", decode_worker="d", ttft_s=0.0125, error="broke")
    over.close(RequestState.FAILED)
    AccessLog()(over)
    line = json.loads(out.getvalue())
    assert (line["outcome"], line["output_tokens"], line["ttft_ms"], line["error"]) == ("failed", 4, 12.5, "broke")
    configure("json", "warning", "front-door-0", out)
    AccessLog()(over)
    assert len(out.getvalue().splitlines()) == 1


def test_the_controllers_file_follows_the_spec(root, tmp_path):
    root.handlers[:] = []
    log_to(tmp_path / "logs" / "controller.log")
    (handler,) = root.handlers
    logging.getLogger("c").info("first")
    shape_log(Observability(LogFormat.JSON, LogLevel.WARNING))
    logging.getLogger("c").info("unheard")
    logging.getLogger("c").warning("second")
    handler.close()
    first, second = (tmp_path / "logs" / "controller.log").read_text().splitlines()
    assert first.endswith("INFO c first")
    assert (json.loads(second)["message"], json.loads(second)["process"]) == ("second", "controller")
