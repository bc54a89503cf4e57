"""Keys from file and environment, and a file that changes."""

import logging
import os

import pytest

from orchestrator.frontend.auth import KeyFileError, Keyring


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("first operator\n")
    path.chmod(0o600)
    return path


def change(path, text):
    """Another content that no clock's resolution hides."""
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def test_without_keys_nothing_is_asked_for():
    assert not Keyring(None).enabled


def test_the_environment_takes_commas_semicolons_and_lines():
    keys = Keyring(None, "a operator ops, b; c user third\nd")
    assert keys.enabled
    assert [keys.find(f"Bearer {key}") is not None for key in "abcde"] == [True, True, True, True, False]
    assert keys.find("bearer  a ").name == "ops"


@pytest.mark.parametrize(
    "header", ["", "first", "Basic first", "Bearer", "Bearer other", "Bearer first x", "Bearer \udcff"]
)
def test_other_headers_find_nothing(file, header):
    assert Keyring(file).find(header) is None


def test_a_changed_file_counts_within_a_second_and_not_before(file, clock):
    keys = Keyring(file, clock=clock)
    change(file, "second operator\n")
    clock.now_s += 0.9
    assert keys.find("Bearer first")
    clock.now_s += 0.2
    assert keys.find("Bearer first") is None
    assert keys.find("Bearer second")


@pytest.mark.parametrize("text", ["", "a user x rpm=zero\n", None])
def test_a_file_that_breaks_leaves_the_last_keys_in_force(file, clock, caplog, text):
    keys = Keyring(file, clock=clock)
    file.unlink() if text is None else change(file, text)
    clock.now_s += 2
    with caplog.at_level(logging.ERROR):
        assert keys.find("Bearer first")
        assert keys.find("Bearer first")
    assert len(caplog.records) == 1
    file.write_text("third operator\n")
    clock.now_s += 20
    assert keys.find("Bearer third")


def test_bad_files_at_the_start(tmp_path, file):
    with pytest.raises(KeyFileError, match=r"no such file of API keys.*correct spec.security.apiKeysFile"):
        Keyring(tmp_path / "missing")
    with pytest.raises(KeyFileError, match="cannot be read"):
        Keyring(tmp_path)
    file.write_bytes(b"\xff\xfe\n")
    with pytest.raises(KeyFileError, match="UTF-8"):
        Keyring(file)
    file.write_text("# nothing\n")
    with pytest.raises(KeyFileError, match="holds no API key"):
        Keyring(file)
    file.write_text("twice operator\n")
    with pytest.raises(KeyFileError, match="in the file and in the environment") as error:
        Keyring(file, "twice")
    assert "twice" not in str(error.value)


def test_what_is_unwise_is_said_and_no_key_is(file, caplog):
    file.write_text("SECRET user\n")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        Keyring(file)
    assert "everybody can read it" in caplog.text
    assert "nobody can use pdctl" in caplog.text
    assert "SECRET" not in caplog.text
