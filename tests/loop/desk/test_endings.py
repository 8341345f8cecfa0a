from __future__ import annotations

import math

from vibeserve_loop.desk.endings import spent
from vibeserve_loop.records import MOST_SPENT, Spend


def test_what_a_session_says_that_it_cost_is_never_negative_and_always_a_number() -> None:
    assert spent(1.5, 0.25, 3, 4) == Spend(seconds=1.5, usd=0.25, tokens_in=3, tokens_out=4)
    assert spent(-1.0, -0.25, -3, -4) == Spend()
    assert spent(math.inf, math.nan, 0, 0) == Spend()
    assert spent(0.0, 1e300, 10**400, 0) == Spend(usd=MOST_SPENT, tokens_in=MOST_SPENT)
