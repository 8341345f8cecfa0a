"""The same trivial work with OpenEvolve's database on disk each iteration: `PYTHON durability_openevolve.py [N]`.

Run with an interpreter that has `openevolve`.  Its own checkpoint is its only durable state, so one is made each
iteration; its prompt, model, evaluator and worker processes are left out, which is less than an iteration of its own.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase


def main() -> None:
    """Run so many iterations and print milliseconds an iteration, and those of the last quarter."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    database = ProgramDatabase(DatabaseConfig(log_prompts=False, random_seed=1))
    database.add(Program(id="p0", code="speed = 100\n", metrics={"combined_score": 0.1}), iteration=0)
    each = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1, wanted + 1):
            began = time.perf_counter()
            parent, _ = database.sample()
            code = f"speed = {100 + number / 1000}\n" + "# " + "x" * (number % 50) + "\n"
            score = {"combined_score": 0.1 + number // 8 / 1e4}
            child = Program(id=f"p{number}", code=code, parent_id=parent.id, metrics=score, iteration_found=number)
            database.add(child, iteration=number)
            database.save(str(Path(scratch) / f"checkpoint_{number}"), number)
            each.append((time.perf_counter() - began) * 1e3)
    last = each[-max(1, wanted // 4) :]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mean, end = sum(each) / wanted, sum(last) / len(last)
    print(f"openevolve: {wanted} iterations, {mean:.2f} ms each, {end:.2f} in the last quarter, {peak:.0f} MB")


if __name__ == "__main__":
    main()
