from __future__ import annotations

from round_lab import a_round, starter, worked

from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.fold import Facts, facts_of, take_in
from vibeserve_loop.records import Round, Task


def _afresh(rounds: list[Round]) -> Facts:
    facts = Facts()
    for record in rounds:
        take_in(facts, record)
    return facts


def test_a_fold_that_grew_is_the_fold_from_the_beginning() -> None:
    rounds = [starter(), *(worked(n, 1.1 if n % 3 == 0 else 0.9, base=0) for n in range(1, 12))]
    for count in (1, 2, 7, 12, 3, 12):
        assert facts_of(rounds[:count]) == _afresh(rounds[:count])


def test_another_history_is_not_mistaken_for_this_one() -> None:
    one = [starter(), worked(1, 1.5), worked(2, 1.2, base=1)]
    other = [starter(), worked(1, 1.1), one[2]]
    assert facts_of(one).best != facts_of(other).best
    assert facts_of(other) == _afresh(other)


def test_the_incumbent_is_the_best_that_was_kept_wherever_it_came_from() -> None:
    rounds = [starter(), worked(1, 2.0), worked(2, 1.1), worked(3, 0.9, base=1), worked(4, 1.05, base=3)]
    best = lineage.incumbent(rounds)
    assert best is not None
    assert best.round == 1
    assert lineage.incumbent([]) is None


def test_a_gates_voids_count_for_nothing() -> None:
    void = worked(2, 1.5, ruling="void")
    changed_nothing = a_round(3, Task(kind="work"), ruling="void")
    assert lineage.turns([starter(), worked(1, 0.9), void, changed_nothing]) == 2
    assert lineage.fruitless([starter(), worked(1, 0.9), void, changed_nothing]) == 2


def test_code_that_mended_refused_code_holds_its_techniques_too() -> None:
    refused = worked(1, 0.9, techniques=("a",))
    mended = worked(2, 1.5, task=Task(kind="work", base=0, start=1), techniques=("b",))
    assert lineage.applied([starter(), refused, mended], mended) == {"a", "b"}
