"""Parts of somebody's own: what is wrong with them is said in one line, and no run is lost by it."""

from __future__ import annotations

import pytest
from loop_lab import Lab, faster

WRONG = """
from vibeserve_loop.records import AgentResult

class Picky:
    def __init__(self, good="0"):
        self.good = int(good)

    def work(self, brief, desk):
        return AgentResult(summary="")

class Unready(Picky):
    def ready(self):
        raise KeyError("no such key")

class Misfit(Picky):
    def fits(self, sandbox):
        return sandbox.nothing

class Priceless(Picky):
    def unpriced(self):
        return 1 / 0

class Walls:
    def obstacle(self):
        raise OSError("no walls")

    def run(self, job):
        pass

class Clever:
    def __init__(self):
        raise RuntimeError("not today")

    def propose(self, rounds):
        pass

    def decide(self, task, assessment):
        pass
"""
POLICY = """
from vibeserve_loop.records import Decision, Task

class Own:
    def propose(self, rounds):
        if len(rounds) == 2:
            {propose}
        return Task(kind="work") if len(rounds) < 4 else None

    def decide(self, task, assessment):
        {decide}
        return Decision(ruling="accept", reason="why not")
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "wrong:Picky good=x"), "agent wrong:Picky raised ValueError: invalid literal"),
        (("--agent", "wrong:Unready"), "agent wrong:Unready: ready raised KeyError: 'no such key' (wrong.py:13)"),
        (("--agent", "wrong:Misfit"), "agent wrong:Misfit: fits raised AttributeError"),
        (("--agent", "wrong:Priceless", "--max-usd", "1"), "wrong:Priceless: unpriced raised ZeroDivisionError"),
        (("--sandbox", "wrong:Walls"), "sandbox wrong:Walls raised OSError: no walls"),
        (("--policy", "wrong:Clever"), "policy wrong:Clever raised RuntimeError: not today"),
        (("--agent", "torn:Agent"), "torn:Agent: SyntaxError: '(' was never closed (torn.py, line 1)"),
        (("--agent", ":Agent"), ":Agent: ValueError: Empty module name"),
        (("--agent", "elsewhere:Agent"), "PYTHONPATH names the folder that elsewhere is in"),
        (("--tracker", "torn"), "torn: SyntaxError: '(' was never closed (torn.py, line 1): mend it"),
    ],
)
def test_what_is_wrong_with_a_part_of_ones_own_is_one_line_before_a_run(
    lab: Lab, words: tuple[str, ...], said: str
) -> None:
    (lab.folder / "wrong.py").write_text(WRONG)
    (lab.folder / "torn.py").write_text("print(")
    done = lab.call("run", "lab", *lab.gate, *words)
    assert done.returncode == 4, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (lab.folder / "runs").exists()


@pytest.mark.parametrize(
    ("propose", "decide", "said"),
    [
        ("raise ValueError('no idea')", "pass", "propose raised ValueError: no idea (own.py:"),
        ("return Task(kind='work', base=7)", "pass", "propose raised ValueError: round 7 has no code to begin from"),
        ("return Task(kind='plan')", "pass", "propose raised ValueError: a policy gives out no task of kind plan"),
        ("pass", "return None", "decide raised TypeError: it gave None, not a Decision"),
    ],
)
def test_a_policy_that_fails_ends_the_run_which_goes_on_once_it_is_mended(
    lab: Lab, propose: str, decide: str, said: str
) -> None:
    lab.skill("fast", faster(1.5), relieves="serial-service")
    lab.skill("faster", faster(1.5), relieves="step-overhead")
    own = lab.folder / "own.py"
    own.write_text(POLICY.format(propose=propose, decide=decide))
    done = lab.run("--policy", "own:Own")
    assert done.returncode == 3, done.stderr
    assert f"policy own:Own: {said}" in done.stderr
    assert "Traceback" not in done.stderr
    before = len(lab.rounds())
    own.write_text(POLICY.format(propose="pass", decide="pass"))
    done = lab.call("resume")
    assert done.returncode == 0, done.stderr
    assert len(lab.rounds()) > before
    assert lab.rounds()[-1]["task"]["kind"] == "final"
