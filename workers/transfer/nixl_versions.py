"""Versions of NIXL and UCX as loaded, and the transports that UCX may choose from."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
from pathlib import Path

_LOADED_UCP = re.compile(r"\S*/libucp[-.]\S*$")


def nixl_versions() -> dict[str, str]:
    """`nixl`, `ucx` and `ucx_tls`; a version that cannot be found out is left out. UCX is loaded with the first agent."""
    found = {"ucx_tls": os.environ.get("UCX_TLS", "all")}
    for package in ("nixl-cu13", "nixl"):
        try:
            found["nixl"] = importlib.metadata.version(package)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    ucx = _ucx_version()
    return found | ({"ucx": ucx} if ucx else {})


def _ucx_version() -> str:
    """Asks the library in this process: wheels bring a UCX of their own, whatever the system has."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        match = _LOADED_UCP.search(line)
        if match is not None:
            text = ctypes.CDLL(match[0]).ucp_get_version_string
            text.restype = ctypes.c_char_p
            return str(text().decode())
    return ""
