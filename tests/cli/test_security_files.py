"""Mistakes in certificates and files of API keys are found before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control import launch
from tests.auth.authority import Authority
from tests.cli.conftest import Pdctl

HEAD = "apiVersion: pd/v1\nkind: Cluster\nspec:\n  security:\n"
FOREIGN = "    tls:\n      certFile: one.pem\n      keyFile: two.key\n"
MISTAKES = {
    "another's key": (FOREIGN, 6, "the key does not belong to the certificate", "name the key that the certificate"),
    "no PEM": ("    tls:\n      keyFile: one.key\n      certFile: words\n", 7, "no PEM file", "check spec.security.tls"),
    "no authority": (
        "    tls: {certFile: one.pem, keyFile: one.key, clientCaFile: words}\n", 5, "no certificates of authorities",
        "spec.security.tls.clientCaFile",
    ),
    "no key": ("    apiKeysFile: empty\n", 5, "the file holds no API key", "KEY operator NAME"),
    "a bad line": ("    apiKeysFile: words\n", 5, "neither a role, a name nor a limit", "write KEY [user|operator]"),
}  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    authority = Authority(tmp_path)
    for name in ("one", "two"):
        authority.issue(name)
    (tmp_path / "words").write_text("one two three four\n")
    (tmp_path / "words").chmod(0o600)
    (tmp_path / "empty").touch(0o600)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_config_check_names_the_file_and_its_line(lone: Pdctl, directory: Path, mistake: str) -> None:
    body, line, reason, remedy = MISTAKES[mistake]
    file = directory / "cluster.yaml"
    file.write_text(HEAD + body)
    done = lone("config", "check", file, "-o", "json")
    (problem,) = done.json()["problems"]
    assert done.code == 1 and problem["line"] == line
    assert reason in problem["reason"] and remedy in problem["remedy"]
    assert f"{file}:{line}: spec.security." in done.err


def test_both_are_named_at_once(lone: Pdctl, directory: Path) -> None:
    file = directory / "cluster.yaml"
    file.write_text(HEAD + FOREIGN + "    apiKeysFile: empty\n")
    problems = lone("config", "check", file, "-o", "json").json()["problems"]
    assert [problem["path"] for problem in problems] == ["spec.security.tls", "spec.security.apiKeysFile"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_up_starts_nothing(lone: Pdctl, directory: Path, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "run", lambda *_: pytest.fail("it was started"))
    body, _, reason, remedy = MISTAKES[mistake]
    file = directory / "cluster.yaml"
    file.write_text(HEAD + body)
    done = lone("up", "-f", file)
    assert done.code == 1 and reason in done.err and remedy in done.err


def test_keys_of_the_environment_are_checked_too(lone: Pdctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "run", lambda *_: pytest.fail("it was started"))
    monkeypatch.setenv("TANDEM_API_KEYS", "k operator ops rpm=none")
    done = lone("up")
    assert done.code == 1 and "TANDEM_API_KEYS" in done.err


def test_what_can_be_used_is_started(lone: Pdctl, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(launch, "run", lambda cluster, *_: started.append(cluster.name))
    (directory / "keys").write_text("secret operator ops\n")
    (directory / "keys").chmod(0o600)
    file = directory / "cluster.yaml"
    file.write_text(HEAD + "    apiKeysFile: keys\n    tls: {certFile: one.pem, keyFile: one.key}\n")
    assert lone("config", "check", file).code == 0
    assert lone("up", "-f", file).code == 0 and started == ["tandem"]
