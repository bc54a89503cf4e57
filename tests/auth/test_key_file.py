"""Lines of keys: roles, names, limits, digests, and mistakes that are named without the key."""

import hashlib

import pytest

from orchestrator.frontend.auth.api_key import KeyLimits, KeyRole, digest
from orchestrator.frontend.auth.key_file import KeyFileError, parse_keys


def test_every_form_of_a_line():
    hashed = hashlib.sha256(b"k6").hexdigest()
    text = f"""
# a comment
k1
k2 operator
k3 user team-a   # and a comment
k4 team-b rpm=60 concurrent=8 tpm=100000
k5 operator ops rpm=5
sha256:{hashed} user team-c
"""
    keys = parse_keys(text, "keys")
    assert [(k.role, k.name) for k in keys] == [
        (KeyRole.USER, f"key-{digest('k1').hex()[:8]}"),
        (KeyRole.OPERATOR, f"key-{digest('k2').hex()[:8]}"),
        (KeyRole.USER, "team-a"),
        (KeyRole.USER, "team-b"),
        (KeyRole.OPERATOR, "ops"),
        (KeyRole.USER, "team-c"),
    ]
    assert keys[3].limits == KeyLimits(60, 8, 100000)
    assert keys[5].digest == digest("k6")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("SECRET admin operator", "'operator' is neither"),
        ("SECRET user a b", "'b' is neither"),
        ("SECRET rpm=0", "rpm=0 is no whole number above 0"),
        ("SECRET rpm=1.5", "rpm=1.5"),
        ("SECRET rpm=-1", "rpm=-1"),
        ("SECRET rpm=" + "9" * 50, "no whole number"),
        ("SECRET rps=1", "'rps' is no limit"),
        ("SECRET rpm=1 rpm=2", "stands twice"),
        ("SECRET user name with*star", "neither"),
        ("sha256:SECRET", "64 hexadecimal digits"),
        ("SECRET\nother\nSECRET operator", "line 3"),
        ("SECRET user a rpm=1\nother user a rpm=2", "share their limits"),
    ],
)
def test_a_mistake_names_line_and_form_and_never_the_key(line, words):
    with pytest.raises(KeyFileError) as error:
        parse_keys(line, "keys")
    assert words in str(error.value)
    assert "keys, line " in str(error.value)
    assert "SECRET" not in str(error.value)
