"""The same trivial work with GEPA and its state on disk each iteration: `PYTHON durability_gepa.py [ITERATIONS]`.

Run with an interpreter that has `gepa`; its evaluations and its model are functions, timed and taken away.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time

import gepa
from gepa.core.adapter import EvaluationBatch


class Trivial:
    """Scores a text by its length, and counts the time that scoring takes."""

    propose_new_texts = None

    def __init__(self) -> None:
        self.spent, self.calls = 0.0, 0

    def evaluate(self, batch, candidate, capture_traces=False):  # type: ignore[no-untyped-def]
        """One score an example; every eighth new text scores better."""
        began = time.perf_counter()
        score = len(candidate["text"]) // 8 / 1e6
        scores = [score for _ in batch]
        seen = list(batch) if capture_traces else None
        found = EvaluationBatch(outputs=list(batch), scores=scores, trajectories=seen)
        self.spent += time.perf_counter() - began
        return found

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):  # type: ignore[no-untyped-def]
        """What the model would be shown."""
        record = {"Inputs": "x", "Generated Outputs": "y", "Feedback": "longer"}
        return {name: [record] for name in components_to_update}

    def longer(self, prompt: object) -> str:
        """The model: a text that is one letter longer each time."""
        self.calls += 1
        return "```\n" + "x" * self.calls + "\n```"


def main() -> None:
    """Run so many iterations and print milliseconds an iteration beside evaluation."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    adapter = Trivial()
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        gepa.optimize(
            seed_candidate={"text": "x"}, trainset=[1], valset=[1], adapter=adapter, reflection_lm=adapter.longer,
            max_metric_calls=3 * wanted, reflection_minibatch_size=1, run_dir=scratch, display_progress_bar=False,
        )  # fmt: skip
        wall = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = (wall - adapter.spent) / adapter.calls * 1e3
    print(f"gepa: {adapter.calls} iterations, {each:.2f} ms each, {peak:.0f} MB")


if __name__ == "__main__":
    main()
