"""A seeded tenth of the kill campaign: SIGKILL and SIGSTOP over all kinds of process under 16 streams."""

import pytest

from bench.campaign.kills import campaign
from bench.harness import Bench

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]
KILLS, STOPS = 30, 10


async def test_no_token_is_lost_repeated_or_wrong():
    bench = Bench("campaign.kills", quick=True, seed=0)
    await campaign(bench, KILLS, STOPS)
    print(bench.text())
    assert all(check.ok for check in bench.checks), bench.text()
