"""TLS for HTTP and gRPC from the same files: who gets in, what changes without a restart, and mistakes in one line."""

import asyncio
import shutil
import socket
import ssl

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from orchestrator.core.config import Tls as TlsFiles
from orchestrator.frontend.auth import Tls, TlsError
from tests.auth.authority import Authority


class Clock:
    now_s = 5.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def files(authority, name="server", client_ca=None):
    certificate, key = authority.issue(name)
    return TlsFiles(str(certificate), str(key), str(client_ca) if client_ca else None)


def trusting(authority, pair=None):
    context = ssl.create_default_context(cafile=authority.ca)
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


class Https:
    """Says who it is over TLS and hangs up."""

    def __init__(self, tls):
        self._context = tls.ssl_context()

    async def __aenter__(self):
        async def serve(reader, writer):
            await reader.readline()
            writer.write(b"served\n")
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def ask(self, context):
        """(name of the server's certificate, its answer)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            subject = writer.get_extra_info("peercert")["subject"]
            writer.write(b"hello\n")
            return dict(pair[0] for pair in subject)["commonName"], await reader.readline()
        finally:
            writer.close()


async def grpc_server(tls):
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_secure_port("127.0.0.1:0", tls.grpc_credentials())
    await server.start()
    return server, port


async def check(port, ca, pair=None):
    """A health check over a new TLS connection."""
    key, chain = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key, chain)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        return await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


async def test_both_protocols_serve_who_trusts_the_authority(authority, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    stranger = Authority(other)
    tls = Tls(files(authority))
    async with Https(tls) as https:
        assert await https.ask(trusting(authority)) == ("server", b"served\n")
        with pytest.raises(ssl.SSLCertVerificationError):
            await https.ask(trusting(stranger))
    server, port = await grpc_server(tls)
    assert (await check(port, authority.ca)).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await check(port, stranger.ca)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


async def test_nothing_older_than_tls_1_2(authority):
    async with Https(Tls(files(authority))) as https:
        for version, works in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)):
            context = trusting(authority)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
            if works:
                assert (await https.ask(context))[1] == b"served\n"
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await https.ask(context)


async def test_mutual_tls_lets_in_only_who_has_a_certificate(authority):
    tls = Tls(files(authority, client_ca=authority.ca))
    pair = authority.issue("client")
    async with Https(tls) as https:
        assert (await https.ask(trusting(authority, pair)))[1] == b"served\n"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _, answer = await https.ask(trusting(authority))
            if answer == b"":  # TLS 1.3: the refusal comes after the client's handshake
                raise ConnectionResetError
    server, port = await grpc_server(tls)
    assert await check(port, authority.ca, pair)
    with pytest.raises(grpc.aio.AioRpcError):
        await check(port, authority.ca)
    await server.stop(0)


async def test_a_renewed_certificate_is_served_without_a_restart(authority):
    clock = Clock()
    paths = files(authority, "old")
    tls = Tls(paths, clock)
    server, port = await grpc_server(tls)
    async with Https(tls) as https:
        assert (await https.ask(trusting(authority)))[0] == "old"
        certificate, key = authority.issue("renewed")
        shutil.copy(certificate, paths.cert_file)
        clock.now_s += 2  # half of it is there: the old one stays
        assert (await https.ask(trusting(authority)))[0] == "old"
        shutil.copy(key, paths.key_file)
        clock.now_s += 2
        assert (await https.ask(trusting(authority)))[0] == "renewed"
        assert await check(port, authority.ca)
        clock.now_s += 2
        assert await asyncio.to_thread(peer_name, port, authority) == "renewed"
    await server.stop(0)


def peer_name(port, authority):
    context = trusting(authority)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            return dict(pair[0] for pair in connection.getpeercert()["subject"])["commonName"]


def test_mistakes_are_one_line_with_a_remedy(authority, tmp_path):
    certificate, key = authority.issue("server")
    _, other = authority.issue("other")
    _, locked = authority.issue("locked", password=b"secret")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no PEM")
    mistakes = [
        (TlsFiles(str(tmp_path / "missing"), str(key)), "cannot be read (No such file"),
        (TlsFiles(str(certificate), str(tmp_path / "missing")), "cannot be read (No such file"),
        (TlsFiles(str(certificate), str(other)), "the key does not belong to the certificate"),
        (TlsFiles(str(nonsense), str(key)), "no PEM file"),
        (TlsFiles(str(certificate), str(nonsense)), "no PEM file"),
        (TlsFiles(str(certificate), str(locked)), "the key has a password"),
        (TlsFiles(str(certificate), str(key), str(nonsense)), "no certificates of authorities"),
        (TlsFiles(str(certificate), None), "TLS needs a certificate and its key"),
    ]
    for wrong, words in mistakes:
        with pytest.raises(TlsError) as error:
            Tls(wrong)
        text = str(error.value)
        assert words in text
        assert text.count(";") == 2
        assert "\n" not in text
