"""Where the other routers are installed: the environment variable TANDEM_PEERS, `.peers` in the repository, or this Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOW = "pip install '.[peers]', or TANDEM_PEERS=path of a venv with vllm-router and sglang-router"


def peer_python(module: str) -> str | None:
    """A Python that can import `module`, or None."""
    places = [os.environ.get("TANDEM_PEERS"), str(Path(__file__).parents[2] / ".peers")]
    for python in [*(f"{place}/bin/python" for place in places if place), sys.executable]:
        if (
            Path(python).exists()
            and subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0
        ):
            return python
    return None


def peer_version(python: str, package: str) -> str:
    """Version of an installed package."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
