"""Two hosts of our own for every test in this folder, which is skipped where they cannot be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.namespaces import Host, NoNamespaces, two_hosts


@pytest.fixture(scope="package")
def hosts() -> Iterator[tuple[Host, Host]]:
    with ExitStack() as stack:
        try:
            pair = stack.enter_context(two_hosts())
        except NoNamespaces as error:
            pytest.skip(str(error))
        yield pair
