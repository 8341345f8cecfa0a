"""What looks on inside a candidate's Python processes in the profiled pass; there it stands as `sitecustomize.py`.

It is a file of its own: standard library only, and of torch and mlx what the candidate itself has imported.  The gate
shows its folder read-only and writes two empty files into it, `begin` and `end`; findings go to the folder named by
VIBESERVE_PROFILE, which is a candidate's own temporary one.  In every other start none of this is there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

VARIABLE = "VIBESERVE_PROFILE"
BEGIN, END = "serving.begin", "serving.end"
"""Audit events by which a candidate says what its thread is at: `sys.audit(BEGIN, phase, rows)`, `sys.audit(END)`."""
TRACED_S = 0.6
"""Operators are traced for this long only: a trace of every call slows a server down and grows by the second."""
LOOK_S = 0.02
MOST_MARKS = 200_000


class Recorder:
    """Waits for `begin`, notes phases and traces operators, and writes down what it has at `end`."""

    def __init__(self, findings: Path, control: Path) -> None:
        """Nothing is watched yet."""
        self._findings, self._control = findings, control
        self._marks: list[tuple[float, int, str, int]] = []
        self._noting = False

    def install(self) -> None:
        """Listen to audit events, and watch from a thread of its own."""
        self._findings.mkdir(exist_ok=True)
        (self._findings / f"here-{os.getpid()}").touch()
        sys.addaudithook(self._heard)
        threading.Thread(target=self._watch, name="vibeserve-profile", daemon=True).start()

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._noting and event in (BEGIN, END):
            name = str(arguments[0]) if event == BEGIN and arguments else ""
            self._note(name, arguments[1] if len(arguments) > 1 and isinstance(arguments[1], int) else 0)

    def _note(self, name: str, rows: int = 0) -> None:
        """An empty name ends what the thread began last."""
        if len(self._marks) < MOST_MARKS:
            self._marks.append((time.monotonic(), threading.get_native_id(), name, rows))

    def _watch(self) -> None:
        self._await("begin")
        self._noting = True
        why = "" if "mlx.core" in sys.modules else "neither torch nor mlx is imported"
        if "mlx.core" in sys.modules:
            self._wrap(sys.modules["mlx.core"])
        if "torch" in sys.modules:
            why = self._trace(sys.modules["torch"])
        self._await("end")
        self._noting = False
        told = {
            "clock": time.time() - time.monotonic(),
            "marks": self._marks,
            "untraced": why,
            "counters": _counters(sys.modules.get("mlx.core")),
        }
        self._write(f"marks-{os.getpid()}.json", json.dumps(told))

    def _await(self, name: str) -> None:
        while not (self._control / name).exists():
            time.sleep(LOOK_S)

    def _trace(self, torch: Any) -> str:
        """Trace the operators of all threads for a while; "" or why that cannot be."""
        try:
            settings = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
        except (AttributeError, TypeError):
            return f"torch {torch.__version__} cannot trace the threads of others"
        if "NSYS_PROFILING_SESSION_ID" in os.environ and torch.cuda.is_available():
            torch.cuda.cudart().cudaProfilerStart()
            time.sleep(TRACED_S)
            torch.cuda.cudart().cudaProfilerStop()
            return ""
        kinds = torch.profiler.supported_activities()
        traced = torch.profiler.profile(activities=kinds, record_shapes=True, experimental_config=settings)
        traced.start()
        time.sleep(TRACED_S)
        traced.stop()
        path = self._findings / f"torch-{os.getpid()}.json"
        traced.export_chrome_trace(f"{path}.part")
        os.rename(f"{path}.part", path)
        return ""

    def _wrap(self, mlx: Any) -> None:
        """MLX computes when it is asked for results: that is what its evaluations take."""
        for name in ("eval", "async_eval"):
            setattr(mlx, name, partial(self._evaluated, getattr(mlx, name)))

    def _evaluated(self, evaluate: Any, *arguments: Any, **named: Any) -> Any:
        self._note("eval")
        try:
            return evaluate(*arguments, **named)
        finally:
            self._note("")

    def _write(self, name: str, text: str) -> None:
        path = self._findings / name
        Path(f"{path}.part").write_text(text, encoding="utf-8")
        os.rename(f"{path}.part", path)


def _counters(mlx: Any) -> dict[str, float]:
    """MLX's own counters of device memory in bytes; nothing without MLX."""
    names = ("get_active_memory", "get_peak_memory", "get_cache_memory") if mlx else ()
    return {name.removeprefix("get_"): float(getattr(mlx, name)()) for name in names}


if VARIABLE in os.environ and __name__ == "sitecustomize":
    Recorder(Path(os.environ[VARIABLE]), Path(__file__).parent).install()
