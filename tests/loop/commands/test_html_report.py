"""The page of a run: whole, small, readable anywhere, and never written by a candidate."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.distributions import distribution
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import (
    CandidatePart,
    Ceiling,
    Check,
    Comparison,
    Distribution,
    Environment,
    Gain,
    Hint,
    Measurement,
    Report,
    Seed,
    TargetPart,
    Verdict,
    write_report,
)
from vibeserve_loop.commands.html_report import LARGEST, report
from vibeserve_loop.ledger.runs import RunFolder, create
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Settings, Spend, Task
from vibeserve_loop.report_page.facts import Standing, beaten, read_run, rivals, standings, trade_off
from vibeserve_loop.report_page.markup import element
from vibeserve_loop.workspace import Workspace

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
HOSTILE = (
    "</pre></details><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\x00&amp;"
)


def measurements(value: float) -> tuple[Measurement, ...]:
    rate = Measurement(
        metric="output_throughput", load="c16", value=value, low=value * 0.98, high=value * 1.02, unit="tok/s",
        direction="max", headline=True, samples=(value * 0.99, value * 1.01), ceiling_share=value / 1000,
    )  # fmt: skip
    wait = Measurement(
        metric="ttft_p50", load="c16", value=9000 / value, low=8800 / value, high=9200 / value, unit="ms",
        direction="min", samples=(8900 / value, 9100 / value),
    )  # fmt: skip
    return rate, wait


def distributions(value: float) -> tuple[Distribution, ...]:
    found = []
    for load in ("c1", "c16", "poisson"):
        for latency in ("ttft", "tpot", "itl", "e2e_latency"):
            times = [9000 / value * 1.05 ** (n % 37 - 18) for n in range(400)]
            found.append(distribution(latency, load, [*times, math.inf] if latency == "ttft" else times))
    return tuple(found)


def compared(value: float, base: float) -> Comparison:
    gain = value / base
    return Comparison(
        baseline="base", baseline_tree="t", metric="output_throughput", load="c16", gain=gain, low=gain * 0.97,
        high=gain * 1.03, pairs=8, conclusion="better" if gain > 1 else "worse", baseline_value=base,
        candidate_value=value, unit="tok/s",
        objectives=tuple(
            Gain(metric=metric, load="c16", gain=gain, low=gain * 0.97, high=gain * 1.03, conclusion="better")
            for metric in ("output_throughput", "ttft_p50")
        ),
    )  # fmt: skip


def gate_report(number: int, value: float, text: str) -> Report:
    return Report(
        schema=1, target=TargetPart(name="lab", profile="full", digest="d", suite_digest="s"),
        candidate=CandidatePart(path="c", tree="t"), depth="quick", seed=Seed(commitment="c", reveal="r"),
        environment=Environment(
            isolation="none", platform="p", cpu=text or "cpu", cores=2, memory_gib=8, python="3",
            packages={"numpy": "2"},
        ),
        verdict=Verdict(outcome="accepted", reason="every check passed"), measurements=measurements(value),
        distributions=distributions(value),
        ceilings=(Ceiling(metric="rate", load="c16", value=1000, unit="tok/s", derivation="10 MB at 10 GB/s"),),
        command=f"pytest --vibeserve-candidate {number}",
    )  # fmt: skip


class Sample:
    """Writes a recorded run as the loop would: a starter, rounds of work, and a final gate."""

    def __init__(self, runs: Path, name: str, text: str = "") -> None:
        settings = Settings(schema=1, id=name, created=1.0, target=str(runs / "targets" / "lab"))
        self.folder, self.text = create(settings, runs), text
        self.history = self.folder.history()
        self.workspace = Workspace(self.folder.workspace)
        starter = runs / f"starter-{name}"
        starter.mkdir()
        (starter / "server.py").write_text("print('serving')\n")
        self.commit = self.workspace.begin(starter, 1.0).sha
        self.base, self.value = 0, 100.0
        self.add("starter", 100.0, None)

    def add(self, kind: str, value: float, comparison: Comparison | None, patch: str = "") -> None:
        number = len(self.history.rounds)
        commit = self.commit
        if kind == "work":
            (self.folder.workspace / "server.py").write_text(f"print('serving')\n{patch or f'# round {number}'}\n")
            commit = self.workspace.commit(f"round {number}", self.commit, float(number)).sha
        kept = comparison is None or comparison.conclusion == "better"
        text = self.text or f"text {number}"
        assessment = Assessment(
            outcome="accepted", reason=text, measurements=measurements(value), comparison=comparison,
            failed=() if kept else (Check(name="some.check", result="fail", detail=text, example=text),),
            hints=(Hint(name="idle-cores", value=1.5, text=text),),
            insight=Insight(load="c16", seconds=1, decode=value / 400, idle=0.1, notes=(text,)),
            command=f"pytest --vibeserve-candidate {number} {text}",
        )  # fmt: skip
        work = AgentResult(summary=text, techniques=(text,), spend=Spend(seconds=3, usd=0.25, tokens_in=10))
        record = Round(
            schema=1, round=number, task=Task(kind=kind, base=self.base, hypothesis=text), commit=commit,
            work=work if kind == "work" else None, assessment=assessment,
            decision=Decision(ruling="accept" if kept else "reject", reason=text), started=1.0, wall_s=20.0,
        )  # fmt: skip
        self.history.append(record)
        write_report(gate_report(number, value, self.text), self.folder.round(number) / "report.json")
        if kind == "work" and kept:
            self.base, self.value, self.commit = number, value, commit

    def work(self, value: float, patch: str = "") -> None:
        self.add("work", value, compared(value, self.value), patch)

    def final(self) -> None:
        self.add("final", self.value, compared(self.value, 100.0))


def sample(runs: Path, name: str = "amber", text: str = "") -> RunFolder:
    made = Sample(runs, name, text)
    for value in (150.0, 140.0, 300.0):
        made.work(value, text)
    made.final()
    return made.folder


class Seen(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(*words: str | Path) -> str:
    done = CliRunner().invoke(report, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return Path(done.output.split(" holds the page")[0]).read_text(encoding="utf-8")


def test_a_page_tells_the_whole_run(tmp_path: Path) -> None:
    seen = Seen(written(sample(tmp_path).path, "-o", tmp_path / "page.html"))
    for told in (
        "The winner is round 3: x3.00", "2 of 3", "text 2", "0.25 USD", "x1.50 [", "+# round 3",
        "pytest --vibeserve-candidate 3", "10 MB at 10 GB/s", "30.0 %", "some.check", "cpu, 2 cores", "ttft_p50 at c16",
        "itl at poisson", "6 were never answered", "since the parent: decode 25% to 38%",
    ):  # fmt: skip
        assert told in seen.text, told
    assert sum(tag == "details" for tag, _ in seen.tags) == 2 * 5
    titles = {"Improvement", "Rounds", "Latencies", "Trade-off", "Share of the bound", "Environment", "Do it again"}
    assert all(title in seen.text for title in titles)


def test_a_page_needs_nothing_else_and_has_a_dark_face(tmp_path: Path) -> None:
    page = written(sample(tmp_path).path, "-o", tmp_path / "page.html")
    seen = Seen(page)
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not [attributes for _, attributes in seen.tags if {"src", "href"} & attributes.keys()]
    assert not re.search(r"url\(|@import|https?://", page)
    assert "prefers-color-scheme: dark" in page
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen.tags


def test_no_text_of_a_candidate_becomes_markup(tmp_path: Path) -> None:
    plain = Seen(written(sample(tmp_path, "amber").path, "-o", tmp_path / "plain.html"))
    seen = Seen(written(sample(tmp_path, "basalt", HOSTILE).path, "-o", tmp_path / "hostile.html"))
    assert {tag for tag, _ in seen.tags} == {tag for tag, _ in plain.tags}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert seen.text.count("<script>document.title='taken'</script>") > 20
    assert "\x00" not in seen.text


@settings(deadline=None)
@given(st.text(), st.text())
def test_an_element_gives_back_the_text_that_it_was_given(inside: str, attribute: str) -> None:
    seen = Seen(element("p", inside, title=attribute))
    expected = "".join(sign if sign >= " " or sign in "\n\t" else "\ufffd" for sign in inside)
    assert (seen.text, [tag for tag, _ in seen.tags]) == (expected, ["p"])


@pytest.mark.parametrize(
    ("count", "text", "told"), [(8, "", "more lines: vibeserve-loop show"), (70, "<&>\"'" * 60, "more rounds")]
)
def test_a_large_run_stays_small_and_says_where_the_rest_is(tmp_path: Path, count: int, text: str, told: str) -> None:
    made = Sample(tmp_path, "large", text)
    for number in range(count):
        made.work(100.0 + number, "\n".join(f"# {number} {line} <&>" for line in range(400)))
    page = written(made.folder.path, "-o", tmp_path / "page.html")
    assert len(page.encode()) < LARGEST
    assert told in page


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    sample(tmp_path, "amber")
    sample(tmp_path, "cedar")
    seen = Seen(written("--compare", "amber", "cedar", "--runs", tmp_path))
    assert (tmp_path / "compare-amber-cedar.html").is_file()
    assert sum(attributes.get("class") == "pair" for _, attributes in seen.tags) == 6
    assert {"amber-3", "cedar-3"} <= {attributes.get("id") for _, attributes in seen.tags}


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    folder = create(Settings(schema=1, id="early", created=1.0, target="lab"), tmp_path)
    assert "The starter has not been accepted." in written(folder.path)
    assert (folder.path / "report.html").is_file()


def test_a_missing_report_of_the_gate_costs_no_page(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    (folder.round(3) / "report.json").write_text("{torn")
    (folder.round(4) / "report.json").unlink()
    assert "The winner is round 3" in written(folder.path)


def test_a_run_and_a_comparison_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either RUN or --compare"):
        CliRunner().invoke(report, ["amber", "--compare", "a", "b"], catch_exceptions=False)


def a_round(number: int) -> Round:
    decision = Decision(ruling="accept", reason="")
    return Round(schema=1, round=number, task=Task(kind="work"), decision=decision, started=1.0, wall_s=1.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20), st.floats(0, 0.4))
def test_a_point_is_beaten_only_when_another_lies_wholly_above_it_in_both(
    pairs: list[tuple[int, int]], width: float
) -> None:
    points = [
        tuple(Standing(a_round(number), gain, gain * (1 - width), gain * (1 + width)) for gain in pair)
        for number, pair in enumerate(pairs)
    ]
    lost = beaten([(up, across) for up, across in points])
    for number, (up, across) in enumerate(pairs):
        by_value = any(a > up and b > across for a, b in pairs)
        apart = any(a * (1 - width) > up * (1 + width) and b * (1 - width) > across * (1 + width) for a, b in pairs)
        assert (number in lost) is apart
        assert by_value or number not in lost


def test_a_standing_has_the_doubt_of_every_comparison_on_its_way(tmp_path: Path) -> None:
    rounds = read_run(sample(tmp_path)).rounds
    *_, last, final = standings(rounds)
    assert last.record.round == 3
    assert last.gain == pytest.approx(3.0)
    wide = math.sqrt(2) * math.log(1 / 0.97)
    assert math.log(last.gain / last.low) == pytest.approx(wide)
    assert math.log(final.gain / final.low) == pytest.approx(math.log(1 / 0.97)), "it met the starter itself"


def test_the_trade_off_is_drawn_from_gains_and_says_who_is_beaten_for_sure(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    run = read_run(folder)
    keys = rivals(run)
    assert keys == (("output_throughput", "c16"), ("ttft_p50", "c16"))
    found = trade_off(run, keys)
    assert [pair[0].record.round for pair in found] == [0, 1, 2, 3, 4]
    assert beaten(found) == {0, 1, 2}
    told = Seen(written(folder.path, "-o", tmp_path / "page.html")).text
    assert "Another round stands above 0, 1, 2 in both by whole intervals." in told
    assert "gain in ttft_p50 at c16" in told


def test_objectives_that_pull_one_way_have_a_trade_off_too(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    run = read_run(folder)
    found = [one.model_copy(update={"direction": "min"}) for one in measurements(100.0)]
    starter = run.rounds[0]
    assert starter.assessment is not None
    assessment = starter.assessment.model_copy(update={"measurements": tuple(found)})
    rounds = (starter.model_copy(update={"assessment": assessment}), *run.rounds[1:])
    assert rivals(replace(run, rounds=rounds)) == (("output_throughput", "c16"), ("ttft_p50", "c16"))


def test_a_run_that_compared_nothing_has_no_trade_off(tmp_path: Path) -> None:
    made = Sample(tmp_path, "new")
    assert rivals(read_run(made.folder)) is None
    assert "No two objectives have been compared yet." in written(made.folder.path, "-o", tmp_path / "page.html")


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: install the package `chromium`")
def test_a_browser_shows_the_page_on_a_desk_and_on_a_phone_and_runs_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    written(sample(tmp_path, "amber", HOSTILE).path, "-o", page)
    headless = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    pictures = []
    for name, *options in (
        ("desk", "--window-size=1100,1600"),
        ("phone", "--window-size=400,1600"),
        ("dark", "--force-dark-mode"),
    ):
        picture = tmp_path / f"{name}.png"
        subprocess.run(
            [*headless, *options, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True, timeout=60
        )
        pictures.append(picture.read_bytes())
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 10_000 for picture in pictures)
    assert len(set(pictures)) == 3
    shown = subprocess.run(
        [*headless, "--dump-dom", page.as_uri()], check=True, capture_output=True, text=True, timeout=60
    )
    assert "<title>lab, run amber</title>" in shown.stdout
