"""What `pdctl` shows a cluster, and whom it trusts: API key, certificate authorities, a certificate of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.globals import GLOBALS

if TYPE_CHECKING:
    import ssl

    import grpc

MISTRUST = "give the cluster's authority with --ca-file or TANDEM_CA_FILE"


def api_key() -> str:
    """The key from `--api-key-file`, else TANDEM_API_KEY, else TANDEM_API_KEY_FILE; "" for none."""
    key = os.environ.get("TANDEM_API_KEY", "").strip()
    if key and GLOBALS.api_key_file is None:
        return key
    chosen = GLOBALS.api_key_file or os.environ.get("TANDEM_API_KEY_FILE")
    if not chosen:
        return ""
    words = _read(Path(chosen), "--api-key-file").decode(errors="replace").split()
    if not words:
        raise usage("the file holds no API key", str(chosen), "write the key into it")
    return words[0]


def bearer() -> dict[str, str]:
    """The Authorization header of HTTP requests; empty without a key."""
    key = api_key()
    return {"Authorization": f"Bearer {key}"} if key else {}


def ca_file() -> Path | None:
    """Certificates of the authorities to trust: `--ca-file`, else TANDEM_CA_FILE; None for those of the machine."""
    chosen = GLOBALS.ca_file or os.environ.get("TANDEM_CA_FILE")
    return Path(chosen) if chosen else None


def ssl_context() -> ssl.SSLContext:
    """For HTTPS; raises CliError for files that cannot be used."""
    import ssl

    authorities = ca_file()
    try:
        context = ssl.create_default_context(cafile=authorities)
        if pair := _own():
            context.load_cert_chain(*pair)
    except (OSError, ssl.SSLError) as error:
        where = f"{authorities or 'TANDEM_CERT_FILE and TANDEM_KEY_FILE'}"
        raise CliError(f"a certificate cannot be used: {error.strerror or error}", where, MISTRUST) from None
    return context


def channel_credentials() -> grpc.ChannelCredentials:
    """For gRPC over TLS; raises CliError for files that cannot be read."""
    import grpc

    authorities, pair = ca_file(), _own()
    roots = _read(authorities, "--ca-file") if authorities is not None else None
    if pair is None:
        return grpc.ssl_channel_credentials(roots)
    certificate, key = (_read(path, "TANDEM_CERT_FILE and TANDEM_KEY_FILE") for path in pair)
    return grpc.ssl_channel_credentials(roots, key, certificate)


def _own() -> tuple[Path, Path] | None:
    """Certificate and key for clusters that ask for one: TANDEM_CERT_FILE and TANDEM_KEY_FILE. Raises CliError for one alone."""
    certificate, key = os.environ.get("TANDEM_CERT_FILE"), os.environ.get("TANDEM_KEY_FILE")
    if certificate and key:
        return Path(certificate), Path(key)
    if certificate or key:
        given, missing = ("CERT", "KEY") if certificate else ("KEY", "CERT")
        what, do = f"TANDEM_{given}_FILE is set and TANDEM_{missing}_FILE is not", "set both, or neither"
        raise usage(what, "a certificate and its key belong together", do)
    return None


def _read(path: Path, option: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise usage(f"{path} cannot be read ({error.strerror})", option, "check the path and its permissions") from None
