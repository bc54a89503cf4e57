"""pdctl shows its key and trusts the authority that it is given."""

import asyncio
import threading
from concurrent.futures import Future

import grpc
import pytest

from orchestrator.cli import globals as cli_globals
from orchestrator.cli.connection import connect
from orchestrator.cli.credentials import api_key, bearer, channel_credentials, ssl_context
from orchestrator.cli.errors import CliError
from orchestrator.core.config import Tls as TlsFiles
from orchestrator.frontend.auth import Gate, Keyring, Tls
from orchestrator.frontend.key_check import KeyCheck
from pd.v1 import admin_pb2, admin_pb2_grpc
from tests.auth.authority import Authority


class Servicer(admin_pb2_grpc.AdminServicer):
    async def GetCluster(self, request, context):
        return admin_pb2.ClusterInfo(name="mine")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("API_KEY", "API_KEY_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE", "SERVER", "RUN_DIR"):
        monkeypatch.delenv(f"TANDEM_{name}", raising=False)
    cli_globals.reset()
    yield monkeypatch
    cli_globals.reset()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    """host:port of an Admin service over TLS with two keys, on a thread of its own."""
    certificate, key = authority.issue("server")
    ready, stop = Future(), Future()

    async def serve():
        server = grpc.aio.server(interceptors=[KeyCheck(Gate(Keyring(None, "u user alice; o operator ops")))])
        admin_pb2_grpc.add_AdminServicer_to_server(Servicer(), server)
        credentials = Tls(TlsFiles(str(certificate), str(key))).grpc_credentials()
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        ready.set_result(port)
        await asyncio.wrap_future(stop)
        await server.stop(0)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    yield f"127.0.0.1:{ready.result(10)}"
    stop.set_result(None)
    thread.join()


def ask():
    with connect(timeout_s=5) as client:
        return client.admin.GetCluster(admin_pb2.GetClusterRequest()).name


def test_key_and_authority_from_the_environment(server, authority, environment):
    environment.setenv("TANDEM_SERVER", server)
    environment.setenv("TANDEM_CA_FILE", str(authority.ca))
    environment.setenv("TANDEM_API_KEY", "o")
    assert ask() == "mine"
    environment.setenv("TANDEM_API_KEY", "u")
    with pytest.raises(CliError, match=r"alice has the role user.*PERMISSION_DENIED"):
        ask()
    environment.delenv("TANDEM_API_KEY")
    with pytest.raises(CliError, match=r"valid API key.*UNAUTHENTICATED"):
        ask()


def test_key_and_authority_from_options(server, authority, environment, tmp_path):
    key = tmp_path / "key"
    key.write_text("o\n")
    cli_globals.GLOBALS.server = f"grpcs://{server}"
    cli_globals.GLOBALS.ca_file = authority.ca
    cli_globals.GLOBALS.api_key_file = key
    environment.setenv("TANDEM_API_KEY", "u")
    assert bearer() == {"Authorization": "Bearer o"}
    assert ask() == "mine"


def test_a_cluster_that_is_not_trusted_is_told_so(server, environment):
    environment.setenv("TANDEM_SERVER", f"grpcs://{server}")
    with pytest.raises(CliError, match="TANDEM_CA_FILE"):
        ask()


def test_files_that_cannot_be_read(environment, tmp_path):
    cli_globals.GLOBALS.api_key_file = tmp_path / "missing"
    with pytest.raises(CliError, match="cannot be read"):
        api_key()
    (tmp_path / "missing").write_text("\n")
    with pytest.raises(CliError, match="holds no API key"):
        api_key()
    cli_globals.reset()
    environment.setenv("TANDEM_CA_FILE", str(tmp_path / "none"))
    environment.setenv("TANDEM_SERVER", "127.0.0.1:1")
    with pytest.raises(CliError, match="cannot be read"):
        ask()


@pytest.mark.parametrize(("given", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_a_certificate_and_its_key_are_given_together(environment, authority, given, missing):
    environment.setenv(f"TANDEM_{given}_FILE", str(authority.ca))
    for use in (ssl_context, channel_credentials):
        with pytest.raises(CliError, match=f"TANDEM_{given}_FILE is set and TANDEM_{missing}_FILE is not"):
            use()
