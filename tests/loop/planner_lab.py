"""An agent that plans by a script and does what it planned."""

from __future__ import annotations

from vibeserve_loop.proposals import Expectation, Item, Proposal

EXPECTS = Expectation(metric="output_throughput", load="c16", at_least=1.2)
PROPOSAL = Proposal(issue="kernels", hypothesis="fewer kernels, x1.2", expects=EXPECTS, board=(Item(id="kernels"),))

PLANNER = """
import json, pathlib
from vibeserve_loop.records import AgentResult, Spend

class PlanningAgent:
    def work(self, brief, desk):
        desk.log("round %d %s" % (brief.number, brief.task.kind))
        if brief.task.kind == "plan":
            script = json.loads(pathlib.Path("script.json").read_text())
            asked = sum(r.task.kind == "plan" for r in brief.rounds)
            answer = script[asked] if asked < len(script) else {"stop": "nothing is left that is worth a round"}
            (desk.folder / "plan.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))
            return AgentResult(summary="planned", spend=Spend(usd=0.5, tokens_in=100))
        (desk.folder / "speed").write_text(brief.task.proposal.task)
        if brief.task.attempt == 1 and "breaks" in brief.task.proposal.hypothesis:
            (desk.folder / "wrong").write_text("")
        else:
            (desk.folder / "wrong").unlink(missing_ok=True)
        return AgentResult(summary="wrote", spend=Spend(usd=2.0, tokens_in=1000, tokens_out=10))
"""


def answer(hypothesis: str, speed: str) -> dict[str, object]:
    """A plan of one hypothesis, whose work writes a speed."""
    proposal = PROPOSAL.model_copy(update={"hypothesis": hypothesis, "task": speed})
    return {"proposal": proposal.model_dump()}
