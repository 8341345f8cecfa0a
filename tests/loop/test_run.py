from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from loop_lab import Lab, faster
from planner_lab import PLANNER, answer


def _techniques(lab: Lab) -> list[list[str]]:
    return [r["work"]["techniques"] for r in lab.rounds() if r["work"]]


def test_a_run_finds_the_techniques_that_help_and_checks_the_winner_in_full(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("slower", faster(0.5), relieves="step-overhead")
    done = lab.run()
    assert done.returncode == 0, done.stderr
    final = lab.rounds()[-1]
    assert final["task"]["kind"] == "final"
    assert final["assessment"]["depth"] == "full"
    assert final["assessment"]["comparison"]["gain"] == 3
    assert ["batching"] in _techniques(lab)
    rulings = {tuple(r["work"]["techniques"]): r["decision"]["ruling"] for r in lab.rounds() if r["work"]}
    assert rulings[("batching",)] == "accept"
    assert rulings[("slower",)] == "reject"
    assert "The winner is round" in done.stdout
    assert "x3.00 [2.94, 3.06] over the starter" in done.stdout


def test_rejected_work_stays_reachable_and_the_branch_holds_the_winner(lab: Lab) -> None:
    lab.skill("batching", faster(2), relieves="serial-service")
    lab.skill("slower", faster(0.5), relieves="idle-cores")
    assert lab.run().returncode == 0
    workspace = lab.latest / "workspace"
    for record in lab.rounds():
        if record["work"] and record["work"]["techniques"]:
            shown = subprocess.run(
                ["git", "-C", str(workspace), "rev-parse", f"refs/vibeserve/rounds/{record['round']}"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert shown.stdout.strip() == record["commit"]
    assert (workspace / "speed").read_text() == "200.0"
    crowned = subprocess.run(
        ["git", "-C", str(workspace), "show", "refs/vibeserve/winner:speed"], capture_output=True, text=True, check=True
    )
    assert crowned.stdout == "200.0"


def test_what_fails_in_depth_is_not_kept(lab: Lab) -> None:
    lab.skill("sound", faster(2), relieves="step-overhead")
    lab.skill("hasty", faster(2) + '(folder / "brittle").write_text("")\n', requires="sound")
    assert lab.run().returncode == 0
    work = [r for r in lab.rounds() if r["task"]["kind"] == "work" and r["assessment"]]
    assert [(r["decision"]["ruling"], r["assessment"]["depth"]) for r in work] == [
        ("accept", "full"),
        ("reject", "full"),
    ]


def test_a_champion_that_fails_the_final_gate_gives_way_to_the_one_before_it(lab: Lab) -> None:
    lab.skill("sound", faster(2), relieves="step-overhead")
    lab.skill("hasty", faster(2) + '(folder / "fickle").write_text("")\n', requires="sound")
    done = lab.run()
    assert done.returncode == 0, done.stderr
    finals = [r for r in lab.rounds() if r["task"]["kind"] == "final"]
    assert [r["decision"]["ruling"] for r in finals] == ["reject", "accept"]
    assert finals[1]["assessment"]["comparison"]["candidate_value"] == 200


def test_a_recipe_that_does_not_apply_costs_no_round(lab: Lab) -> None:
    lab.skill("unfit", 'print("no such code", file=sys.stderr); sys.exit(3)', relieves="step-overhead serial-service")
    lab.skill("fit", faster(2), relieves="idle-cores")
    assert lab.run().returncode == 0
    first = lab.rounds()[1]
    assert first["work"]["techniques"] == ["fit"]
    assert first["work"]["skipped"] == ["unfit"]


def test_a_technique_and_what_it_needs_go_together_when_the_issue_is_strong(lab: Lab) -> None:
    lab.skill("ground", "(folder / 'ground').write_text('')\nprint('laid')")
    lab.skill("house", f"assert (folder / 'ground').exists()\n{faster(4)}", requires="ground", relieves="step-overhead")
    assert lab.run().returncode == 0
    assert lab.rounds()[1]["work"]["techniques"] == ["ground", "house"]


def test_a_neutral_prerequisite_does_not_block_a_weak_technique(lab: Lab) -> None:
    lab.skill("ground", "(folder / 'ground').write_text('')\nprint('laid')")
    lab.skill("house", f"assert (folder / 'ground').exists()\n{faster(2)}", requires="ground", relieves="idle-cores")
    assert lab.run().returncode == 0
    assert _techniques(lab)[:2] == [["ground"], ["ground", "house"]]
    assert lab.rounds()[2]["decision"]["ruling"] == "accept"


def test_variants_are_tried_as_techniques_of_their_own(lab: Lab) -> None:
    body = "speed = folder / 'speed'\nspeed.write_text({'slow': '50', 'fast': '300'}[variant])\nprint(variant)"
    lab.skill("kernel", body, relieves="step-overhead", variants="slow fast")
    assert lab.run().returncode == 0
    assert {"kernel:fast"} <= {name for names in _techniques(lab) for name in names}
    assert lab.rounds()[-1]["assessment"]["comparison"]["gain"] == 3


def test_two_runs_from_one_seed_make_the_same_choices(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.skill(name, faster(1.5), relieves="serial-service")
    lab.run("--max-rounds", "2")
    first = _techniques(lab)
    lab.run("--max-rounds", "2", "--runs", "again")
    again = next((lab.folder / "again").iterdir()) / "rounds.jsonl"
    lines = [json.loads(line) for line in again.read_text().splitlines()]
    assert [r["work"]["techniques"] for r in lines if r["work"]] == first


def test_the_budget_of_rounds_is_kept(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.skill(name, faster(1.5))
    lab.run("--max-rounds", "1")
    assert [r["task"]["kind"] for r in lab.rounds()] == ["starter", "work", "final"]


def test_a_starter_that_is_rejected_ends_the_run_with_the_gates_word(lab: Lab) -> None:
    (lab.target / "starter" / "wrong").write_text("")
    done = lab.run()
    assert done.returncode == 1
    assert "The starter was not accepted: answers.greedy: 3 of 24 answers differ" in done.stdout


def test_a_search_begins_with_the_starter_that_a_target_links_to(lab: Lab) -> None:
    lab.skill("faster", faster(2), relieves="step-overhead")
    other = lab.target.with_name("other")
    other.mkdir()
    (other / "target.toml").write_text((lab.target / "target.toml").read_text().replace('"lab"', '"other"', 1))
    (other / "starter").symlink_to(lab.target / "starter")
    (other / "OBJECTIVE.md").write_text("Serve it on another machine.\n")
    done = lab.call("run", "other", *lab.gate, "--sandbox", "none", "--seed", "7", "--max-rounds", "1")
    assert done.returncode == 0, done.stderr
    assert [r["decision"]["ruling"] for r in lab.rounds()] == ["accept"] * 3


def test_without_a_gain_the_starter_stands(lab: Lab) -> None:
    lab.skill("idle", "(folder / 'note').write_text('hello')\nprint('noted')")
    done = lab.run()
    assert done.returncode == 0
    assert "the starter stands" in done.stdout


def test_a_gate_that_cannot_judge_blames_nobody(lab: Lab) -> None:
    (lab.target / "starter" / "crash").write_text("")
    done = lab.run()
    assert done.returncode == 3
    assert "the machine is on fire" in done.stderr
    assert lab.rounds()[0]["decision"]["ruling"] == "void"


def test_a_report_that_does_not_fit_the_exit_code_is_void(lab: Lab) -> None:
    (lab.target / "starter" / "forged").write_text("")
    (lab.target / "starter" / "wrong").write_text("")
    done = lab.run()
    assert done.returncode == 3
    assert "the gate ended with 0, its report says rejected" in done.stderr


def test_a_gate_without_a_report_is_void(lab: Lab) -> None:
    (lab.target / "starter" / "mute").write_text("")
    done = lab.run()
    assert done.returncode == 3
    assert "left no report" in done.stderr


def test_what_the_gate_says_about_usage_reaches_the_user(lab: Lab) -> None:
    (lab.target / "starter" / "usage").write_text("")
    done = lab.run()
    assert done.returncode == 4
    assert "error: the model is not here: fetch it with `fetch-it`" in done.stderr


def test_a_target_that_changes_under_way_ends_the_run(lab: Lab) -> None:
    objective = lab.target / "OBJECTIVE.md"
    before = objective.read_text()
    lab.skill("meddling", f"pathlib.Path({str(objective)!r}).write_text('easier')\n{faster(9)}")
    done = lab.run()
    assert done.returncode == 4
    kept = lab.latest / "reference"
    said = f"the target changed since this run began: put {lab.target} back (as it was it lies in {kept}), or start"
    assert said in done.stderr
    assert (kept / "OBJECTIVE.md").read_text() == before
    assert (lab.target / "OBJECTIVE.md").read_text() == "easier"


def test_json_events_stand_alone_on_standard_output(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    done = lab.run("--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events if e["event"] != "step"] == ["run", "round", "round", "round", "round", "end"]
    assert all("round" in e for e in events if e["event"] in ("step", "round"))
    assert events[-1]["gain"] == 3
    assert Path(events[-1]["winner"], "speed").read_text() == "300.0"


def test_baselines_stand_in_the_last_table(lab: Lab) -> None:
    other = lab.target / "baselines" / "engine"
    other.mkdir(parents=True)
    (other / "candidate.toml").write_text((lab.target / "starter" / "candidate.toml").read_text())
    (other / "speed").write_text("150")
    done = lab.run("--baseline", "engine")
    assert "| engine | 150.0 | [147.0, 153.0] | x1.50 [1.47, 1.53] |" in done.stdout


def test_the_brief_tells_the_task_and_the_objective(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.run()
    brief = (lab.latest / "rounds" / "0001" / "brief.md").read_text()
    assert "Serve the lab's model." in brief
    assert "step-overhead (weight 0.90)" in brief


def test_recorded_patches_are_replayed(lab: Lab) -> None:
    patches = lab.folder / "patches"
    patches.mkdir()
    patch = "--- a/speed\n+++ b/speed\n@@ -1 +1 @@\n-100\n\\ No newline at end of file\n+250\n"
    (patches / "01-quicker.patch").write_text(patch)
    done = lab.run("--agent", "recorded", "--agent-option", f"patches={patches}")
    assert done.returncode == 0, done.stderr
    assert _techniques(lab)[0] == ["quicker"]
    assert lab.rounds()[-1]["assessment"]["comparison"]["gain"] == 2.5


def _patched(lab: Lab, *speeds: int) -> Path:
    """A folder of patches, each from the speed before it to the next; 0 makes one that does not apply."""
    patches, before = lab.folder / "patches", 100
    patches.mkdir()
    for number, speed in enumerate(speeds, start=1):
        old, new = (before, speed) if speed else (7, 8)
        text = f"--- a/speed\n+++ b/speed\n@@ -1 +1 @@\n-{old}\n\\ No newline at end of file\n+{new}\n"
        (patches / f"{number:02d}-step.patch").write_text(f"{text}\\ No newline at end of file\n")
        before = speed or before
    return patches


def test_a_patch_that_does_not_apply_costs_its_round_alone(lab: Lab) -> None:
    _patched(lab, 0, 250)
    done = lab.run("--agent", "recorded patches=patches")
    assert done.returncode == 0, done.stderr
    work = [r for r in lab.rounds() if r["task"]["kind"] == "work"]
    assert [r["decision"]["ruling"] for r in work[:2]] == ["void", "accept"]
    assert "01-step.patch does not apply" in work[0]["decision"]["reason"]
    assert json.loads((lab.latest / "run.json").read_text())["agent_options"] == [
        ["patches", str(lab.folder / "patches")]
    ]


def test_what_a_runs_agent_did_is_replayed_from_the_run_itself(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("binary", faster(2) + '(folder / "weights").write_bytes(bytes(range(256)))\n', relieves="step-overhead")
    lab.skill("slower", faster(0.5), relieves="idle-cores")
    assert lab.run().returncode == 0
    first, before = lab.latest, lab.rounds()
    shutil.rmtree(lab.folder / "skills")
    done = lab.run("--agent", f"recorded run={first}", "--runs", "again")
    assert done.returncode == 0, done.stderr
    again = next((lab.folder / "again").iterdir()) / "rounds.jsonl"
    after = [json.loads(line) for line in again.read_text().splitlines()]
    facts = [[(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in rounds] for rounds in (before, after)]
    assert facts[0] == facts[1]
    assert _techniques(lab) == [r["work"]["techniques"] for r in after if r["work"]]
    assert {r["work"]["spend"]["usd"] for r in after if r["work"]} == {0.0}


def test_a_planner_is_replayed_as_well(lab: Lab) -> None:
    (lab.folder / "planning.py").write_text(PLANNER)
    (lab.folder / "script.json").write_text(json.dumps([answer("it breaks", "150"), answer("more", "300")]))
    assert lab.run("--policy", "agent", "--agent", "planning:PlanningAgent").returncode == 0
    before, name = lab.rounds(), f"recorded run={lab.latest}"
    done = lab.run("--policy", "agent", "--agent", name, "--planner", name, "--runs", "again")
    assert done.returncode == 0, done.stderr
    again = next((lab.folder / "again").iterdir()) / "rounds.jsonl"
    after = [json.loads(line) for line in again.read_text().splitlines()]
    facts = [[(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in rounds] for rounds in (before, after)]
    assert facts[0] == facts[1]


def test_a_reviewer_marks_a_round_for_a_person_and_the_gate_alone_decides(lab: Lab) -> None:
    reviewer = lab.folder / "reviewer.py"
    reviewer.write_text("""print('{"ask": "a person", "why": "it looks odd"}')""")
    lab.skill("batching", faster(3), relieves="serial-service")
    done = lab.run("--reviewer", f"{sys.executable} {reviewer}")
    assert done.returncode == 0, done.stderr
    assert [r["assessment"]["opinion"]["ask"] for r in lab.rounds() if r["assessment"]] == ["a person"] * 3
    assert "needs a person: it looks odd" in lab.call("log").stdout
    assert "reviewer: asks for a person. it looks odd" in lab.call("show", "1").stdout
