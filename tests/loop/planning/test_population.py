from __future__ import annotations

import math
import random

import pytest
from round_lab import a_round, assessed, measured, refused, starter, worked

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Objective
from vibeserve_loop.planning.population import front, inspirations, objectives_named, of_island, parent, population_of
from vibeserve_loop.records import Knobs, Round, Task

SPEED = Objective(metric="output_throughput", load="c16", direction="max", unit="tok/s")
DELAY = Objective(metric="ttft_p50", load="c16", direction="min", unit="ms")


def _both(number: int, speed: float, delay: float) -> Round:
    found = assessed(speed / 100).model_copy(update={"measurements": (measured(speed), measured(delay, "ttft_p50"))})
    return a_round(number, Task(kind="starter" if number == 0 else "work"), found)


def test_everything_correct_is_a_member_and_nothing_else() -> None:
    rounds = [starter(), worked(1, 0.9), a_round(2, Task(kind="work"), refused()), worked(3, 1.5, base=1)]
    found = {m.round: round(m.fitness, 3) for m in population_of([SPEED])(rounds).members}
    assert found == {0: 0.0, 1: -0.105, 3: 0.3}


def test_only_what_nobody_beats_beyond_the_noise_is_on_the_front() -> None:
    rounds = [_both(0, 100, 50), _both(1, 200, 60), _both(2, 201, 20), _both(3, 90, 10)]
    found = population_of([SPEED, DELAY])(rounds).members
    assert [m.round for m in front(found)] == [2, 3]


def test_fitness_is_the_mean_gain_over_the_objectives() -> None:
    rounds = [_both(0, 100, 50), _both(1, 200, 50), _both(2, 200, 25)]
    fitness = [m.fitness for m in population_of([SPEED, DELAY])(rounds).members]
    assert fitness[0] == 0
    assert fitness[2] == pytest.approx(2 * fitness[1])


def test_a_cold_softmax_takes_the_best_and_a_hot_one_anybody() -> None:
    group = population_of([SPEED])([starter(), worked(1, 2.0), worked(2, 3.0)]).members
    cold = {parent(group, Knobs(temperature=0.01), False, random.Random(i)).round for i in range(30)}
    hot = {parent(group, Knobs(temperature=100), False, random.Random(i)).round for i in range(60)}
    assert (cold, hot) == ({2}, {0, 1, 2})


def test_with_several_objectives_the_bias_says_how_often_the_front_bears() -> None:
    group = population_of([SPEED, DELAY])([_both(0, 100, 50), _both(1, 200, 60), _both(2, 50, 10)]).members
    always = Knobs(frontier_bias=1.0)
    drawn = {parent(group, always, True, random.Random(i)).round for i in range(40)}
    assert drawn == {m.round for m in front(group)} != {0}


def test_inspirations_are_the_best_others_and_some_drawn() -> None:
    group = population_of([SPEED])([starter(), *(worked(n, 1 + n / 10) for n in range(1, 7))]).members
    shown = inspirations(group, group[6], Knobs(), random.Random(1))
    assert shown[:2] == (5, 4)
    assert len(set(shown)) == 4
    assert 6 not in shown


def test_islands_see_others_best_only_after_a_migration() -> None:
    here, there = Task(kind="work", island=0), Task(kind="work", island=1)
    rounds = [starter(), worked(1, 1.2, task=here), worked(2, 1.5, task=there), worked(3, 1.1, task=here)]
    every = population_of([SPEED])(rounds).members
    knobs = Knobs(islands=2, migrate_every=3)
    assert [m.round for m in of_island(every, 0, 2, knobs)] == [0, 1, 3]
    assert [m.round for m in of_island(every, 0, 4, knobs)] == [0, 1, 2, 3]


def test_objectives_are_named_in_words() -> None:
    known = [SPEED, DELAY, SPEED.model_copy(update={"load": "c1"})]
    found = objectives_named(["ttft_p50:min", "output_throughput@c1:max", "ttft_p50@c16:min"], known)
    assert found == (DELAY, known[2])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ttft_p50", "write it as metric:max"),
        ("ttft_p5:min", "no such objective; did you mean ttft_p50"),
        ("foo:max", "no such objective; known are: output_throughput, ttft_p50"),
        ("ttft_p50@c1:min", "did you mean ttft_p50@c16"),
        ("ttft_p50:max", "lower is better for this target; write ttft_p50:min"),
    ],
)
def test_an_objective_that_the_target_does_not_have_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        objectives_named([text], [SPEED, DELAY])


def test_a_single_objective_that_is_not_the_headline_is_what_fitness_goes_by() -> None:
    rounds = [_both(0, 100, 50), _both(1, 200, 60), _both(2, 50, 10)]
    fitness = [m.fitness for m in population_of([DELAY])(rounds).members]
    assert fitness == [0.0, pytest.approx(-math.log(1.2)), pytest.approx(math.log(5))]


def test_the_order_of_objectives_makes_no_difference() -> None:
    rounds = [_both(0, 100, 50), _both(1, 200, 60), _both(2, 50, 10)]
    one, other = ([m.fitness for m in population_of(o)(rounds).members] for o in ([SPEED, DELAY], [DELAY, SPEED]))
    assert one == pytest.approx(other)
