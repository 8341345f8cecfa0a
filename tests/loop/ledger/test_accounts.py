from __future__ import annotations

from round_lab import a_round, refused, starter, worked

from vibeserve_loop.ledger.accounts import account, account_lines, left_for, left_of, of_share, share_for
from vibeserve_loop.records import Budget, Share, Task
from vibeserve_loop.roles import Left
from vibeserve_loop.turn import known_to


def test_a_session_may_use_what_no_gate_needs() -> None:
    rounds = [starter(), worked(1, 1.5, usd=2.0, tokens=100)]
    found = left_for(Budget(max_hours=1.0, max_usd=5.0, max_tokens=1000), rounds)
    assert (found.seconds, found.usd, found.tokens) == (3600 - 120 - 60 - 270, 3.0, 900)
    assert left_for(Budget(), rounds) == Left()
    assert left_for(Budget(max_usd=1.0), rounds).usd == 0


def test_sessions_side_by_side_share_what_is_left_and_what_is_promised_is_not_given_twice() -> None:
    budget, rounds, tasks = Budget(max_usd=9.0, max_tokens=900), [starter()], list[Task]()
    for _ in range(3):
        known = known_to(rounds, tasks)
        share = share_for(budget, known, 3 - len(tasks))
        assert share == Share(usd=3.0, tokens=300)
        assert of_share(left_for(budget, known), share) == Left(usd=3.0, tokens=300)
        tasks.append(Task(kind="work", share=share))
    cheap = worked(1, 1.5, task=tasks[0], usd=1.0, tokens=300)
    assert share_for(budget, known_to([*rounds, cheap], tasks[1:]), 1) == Share(usd=2.0, tokens=0)
    assert share_for(Budget(max_hours=1.0), rounds, 3) is None
    assert share_for(Budget(max_tokens=10), rounds, 3) == Share(tokens=3)
    assert of_share(Left(), None) == Left()


def test_costs_are_told_by_role_and_by_round() -> None:
    plan = a_round(1, Task(kind="plan"), ruling="accept", usd=0.5, tokens=100)
    rounds = [starter(), plan, worked(2, 1.5, usd=2.0, tokens=1000, agent_s=20.0), worked(3, 1.0, base=2, usd=2.0)]
    found = account(rounds)
    told = {cost.role: (cost.rounds, cost.usd, cost.tokens) for cost in found.roles}
    assert told == {"planner": (1, 0.5, 100), "implementer": (2, 4.0, 1000), "gate": (3, 0.0, 0)}
    assert next(cost.seconds for cost in found.roles if cost.role == "gate") == 60 + 40 + 59
    assert [cost.role for cost in found.rounds] == ["round 0 starter", "round 1 plan", "round 2 work", "round 3 work"]
    assert (found.calls, found.gains, found.calls_per_gain) == (3, 1, 3.0)


def test_a_further_gain_is_dearer_the_longer_none_came() -> None:
    soon = account([starter(), worked(1, 1.5, usd=1.0)]).next_gain
    late = account([starter(), worked(1, 1.5, usd=1.0), *(worked(n, 1.0, base=1, usd=1.0) for n in range(2, 8))])
    assert (
        soon
        == "A further gain would cost about 1.5 rounds, 1.5 min and 1.50 USD, of about x1.50 if it is like the latest."
    )
    assert late.next_gain.startswith("A further gain would cost about 4.5 rounds, 4.5 min and 4.50 USD")
    assert account([starter()]).next_gain == "Nothing says yet what a further gain would cost."


def test_an_account_without_a_gain_says_so() -> None:
    lines = account_lines(account([starter(), a_round(1, Task(kind="work"), refused())]))
    assert lines[-1].startswith("1 sessions of agents for 0 gains (none yet).")


def test_the_page_tells_what_each_round_cost_and_of_many_the_longest() -> None:
    few = account_lines(
        account([starter(), worked(1, 1.5, usd=2.0, tokens=10), a_round(2, Task(kind="order"), wall_s=0)])
    )
    assert few[6:10] == ["| round | min | USD | tokens |", "|-|-|-|-|", "| round 0 starter | 1.0 | 0.00 | 0 |",
                         "| round 1 work | 1.0 | 2.00 | 10 |"]  # fmt: skip
    assert not any("order" in line for line in few)
    many = [starter(), *(worked(n, 1.0, usd=1.0, tokens=5, wall_s=60.0 + n) for n in range(1, 40))]
    lines = account_lines(account(many))[8:]
    assert [line.split("|")[1].strip() for line in lines[:2]] == ["round 10 work", "round 11 work"]
    assert lines[30] == "| 10 others (progress.md) | 10.8 | 9.00 | 45 |"


def test_what_is_left_is_told_for_every_budget() -> None:
    rounds = [starter(), worked(1, 1.5, usd=2.0, tokens=300)]
    budget = Budget(max_rounds=3, max_hours=1.0, max_usd=5.0, max_tokens=1000)
    assert left_of(budget, rounds) == "2 rounds and 58 min, 4 of them for the final gate and 3.00 USD and 700 tokens"
    assert left_of(Budget(), rounds) == ""
