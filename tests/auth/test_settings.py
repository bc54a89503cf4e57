"""Settings of TLS, keys and observability: paths, and combinations that cannot run."""

import pytest

from orchestrator.core.config import ConfigError, LogFormat, loads

HEAD = "apiVersion: pd/v1\nkind: Cluster\nspec:\n"


@pytest.fixture
def directory(tmp_path):
    for name in ("cert.pem", "key.pem", "ca.pem", "keys"):
        (tmp_path / name).touch()
    return tmp_path


def test_relative_paths_are_taken_from_the_file(directory):
    text = HEAD + "  security: {apiKeysFile: keys, tls: {certFile: cert.pem, keyFile: key.pem, clientCaFile: ca.pem}}\n"
    security = loads(text, directory=directory).spec.security
    assert security.api_keys_file == str(directory / "keys")
    assert security.tls.cert_file == str(directory / "cert.pem")
    assert security.tls.client_ca_file == str(directory / "ca.pem")
    assert security.tls.enabled
    assert not loads(HEAD + "  drain: {}\n").spec.security.tls.enabled


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("security: {tls: {certFile: cert.pem}}", "spec.security.tls.keyFile"),
        ("security: {tls: {keyFile: key.pem}}", "spec.security.tls.certFile"),
        ("security: {tls: {clientCaFile: ca.pem}}", "name certFile and keyFile too"),
        ("security: {tls: {certFile: nothing.pem, keyFile: key.pem}}", "there is no such file"),
        ("security: {apiKeysFile: nothing}", "there is no such file"),
        ("security: {openMetrics: maybe}", "openMetrics"),
        ("observability: {logFormat: xml}", "logFormat"),
        ("observability: {otlpEndpoint: 'localhost:4318'}", "http://HOST:PORT"),
        ("observability: {traceSampleRatio: 2}", "traceSampleRatio"),
    ],
)
def test_what_cannot_run_is_named(directory, section, words):
    with pytest.raises(ConfigError, match=words):
        loads(f"{HEAD}  {section}\n", directory=directory)


def test_observability(directory):
    text = HEAD + "  observability: {logFormat: json, logLevel: debug, otlpEndpoint: 'http://127.0.0.1:4318'}\n"
    wanted = loads(text, directory=directory).spec.observability
    assert (wanted.log_format, wanted.log_level, wanted.access_log) == (LogFormat.JSON, "debug", False)
