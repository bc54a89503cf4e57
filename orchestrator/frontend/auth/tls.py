"""Certificates of the front door: one place makes what HTTP and gRPC need, and reads files again when they change."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from orchestrator.core.config import Tls as TlsFiles

LOOK_S = 1.0
_log = logging.getLogger(__name__)


class TlsError(Exception):
    """Certificates that cannot be used: what is wrong, where, what to do."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what, self.where, self.do = what, where, do


class Tls:
    """TLS 1.2 or later from PEM files. Raises TlsError at once if they cannot be used.

    New connections get new certificates within `LOOK_S` of a change; files that make no sense leave the last ones in force.
    `clock` is monotonic, in seconds.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        if files.cert_file is None or files.key_file is None:
            raise TlsError("TLS needs a certificate and its key", "spec.security.tls", "name certFile and keyFile")
        self._certificate, self._key = Path(files.cert_file), Path(files.key_file)
        self._authorities = Path(files.client_ca_file) if files.client_ca_file else None
        self._clock = clock
        self._version = self._versions()
        self._context = self._build()
        self._next_look_s = clock() + LOOK_S

    def ssl_context(self) -> ssl.SSLContext:
        """For the HTTP server."""
        context = self._build()
        context.sni_callback = self._newest  # type: ignore[assignment]
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For the gRPC server; gRPC itself takes TLS 1.2 and 1.3 only."""
        given: list[ssl.SSLContext] = [self._context]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """What gRPC asks at every handshake; None: as before."""
            context = self._current()
            if context is given[0]:
                return None
            given[0] = context
            return self._configuration()

        required = self._authorities is not None
        configuration = self._configuration()
        return grpc.dynamic_ssl_server_credentials(
            configuration,
            fetch,  # type: ignore[arg-type]  # None means: as before
            require_client_authentication=required,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pair = (self._key.read_bytes(), self._certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration(
            [pair], self._authorities.read_bytes() if self._authorities is not None else None
        )

    def _newest(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """OpenSSL asks at every handshake, with or without a server name."""
        connection.context = self._current()

    def _current(self) -> ssl.SSLContext:
        now_s = self._clock()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            try:
                version = self._versions()
                if version != self._version:
                    self._context, self._version = self._build(), version
                    _log.info("read the certificate %s again", self._certificate)
            except TlsError as error:
                _log.error("certificates stay as they are: %s", error)
        return self._context

    def _versions(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._certificate, self._key, self._authorities):
            if path is not None:
                try:
                    status = path.stat()
                except OSError as error:
                    what = f"it cannot be read ({error.strerror})"
                    raise TlsError(what, str(path), "correct spec.security.tls") from None
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                what = f"the key does not belong to the certificate {self._certificate}"
                raise TlsError(what, str(self._key), "name the key that the certificate was made for") from None
            what = f"the certificate or its key is no PEM file ({error.reason or error})"
            raise TlsError(what, f"{self._certificate}, {self._key}", "check spec.security.tls") from None
        except OSError as error:
            what = f"it cannot be read ({error.strerror})"
            raise TlsError(what, f"{self._certificate} or {self._key}", "check names and permissions") from None
        except _Encrypted:
            raise TlsError("the key has a password", str(self._key), "store it without one: openssl pkey") from None
        if self._authorities is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self._authorities)
            except (ssl.SSLError, OSError) as error:
                what = f"it holds no certificates of authorities ({error.strerror or error})"
                raise TlsError(what, str(self._authorities), "correct spec.security.tls.clientCaFile") from None
        return context


class _Encrypted(Exception):
    """OpenSSL asks for the password of a key."""


def _no_password() -> str:
    raise _Encrypted
