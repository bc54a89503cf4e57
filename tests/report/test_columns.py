"""The arrays agree with the outcomes one by one."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.columns import Columns
from orchestrator.report.outcome import Outcome, Verdict

MAYBE_S = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0])
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        st.sampled_from(list(Verdict)),
        st.just(1.0),
        st.sampled_from(["a", "b"]),
        output_tokens=st.integers(0, 3),
        ttft_s=MAYBE_S,
        e2e_s=MAYBE_S,
        ttft_slo_s=MAYBE_S,
        tpot_slo_s=MAYBE_S,
    ),
    max_size=20,
)


@given(OUTCOMES)
def test_columns_agree_with_outcomes(outcomes: list[Outcome]) -> None:
    columns = Columns.of(outcomes)
    assert columns.met.tolist() == [o.meets_slo for o in outcomes]
    assert columns.bounded.tolist() == [o.has_slo for o in outcomes]
    assert [columns.tiers[i] for i in columns.tier] == [o.tier for o in outcomes]
    expected = [math.nan if o.tpot_s is None else o.tpot_s for o in outcomes]
    assert np.array_equal(columns.tpot_s, expected, equal_nan=True)
