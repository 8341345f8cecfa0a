"""The pytest plugin: options and inertness; everything heavy is imported only when a target is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_vibeserve.evaluator import Evaluator
    from pytest_vibeserve.modalities import Judging

OPTIONS = (
    ("target", "NAME|PATH", "the target to judge by; without it this plugin does nothing"),
    ("candidate", "DIR", "folder with a candidate.toml: it is built, started in a sandbox, judged and measured"),
    ("url", "URL", "judge a server that already runs (the verdict is then unisolated)"),
    ("baseline", "DIR", "another candidate, or the name of one of the target's baselines, measured interleaved"),
    ("profile", "NAME", "profile of the target: full (default), tiny, ..."),
    ("depth", "quick|full", "full (default) is what acceptance means; quick is for iterating"),
    ("report", "FILE", "where the report goes (default: report.json)"),
    ("markdown", "FILE", "also write the summary as Markdown (default: below what is in $GITHUB_STEP_SUMMARY)"),
    ("bencher", "FILE", "also write the measurements in Bencher Metric Format"),
    ("github-benchmark", "FILE", "also write them for github-action-benchmark: FILE.bigger.json, FILE.smaller.json"),
    ("alpha", "SHARE", "chance of a wrong 'better' against the baseline, over all looks at it (default: 0.025)"),
    ("sampling", "TIMES", "audit so many times as many answers (default: 1, or what a scan of the source asks for)"),
    ("insight", "yes|no", "look inside the candidate in a pass of its own, unmeasured (default: at full depth only)"),
    ("server-log", "FILE", "keep the candidate's own output here"),
    ("nonce", "TEXT", "a word to find again in the report"),
)


FLAGS = (("strict", "accept nothing that ran unisolated: where candidates cannot be kept apart, exit with 3"),)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option with its ini twin."""
    group = parser.getgroup("vibeserve", "judge and measure a model server")
    for name, metavar, text in OPTIONS:
        group.addoption(f"--vibeserve-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"vibeserve_{name.replace('-', '_')}", f"twin of --vibeserve-{name}", default="")
    for name, text in FLAGS:
        group.addoption(f"--vibeserve-{name}", action="store_const", const="yes", default=None, help=text)
        parser.addini(f"vibeserve_{name}", f"twin of --vibeserve-{name}: yes or no", default="")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Bring in the gate when a target is asked for; otherwise only say that its markers exist."""
    config.addinivalue_line("markers", "vibeserve_accuracy: judges the candidate's answers (added by the plugin)")
    config.addinivalue_line("markers", "vibeserve_performance: measures the candidate (added by the plugin)")
    if option(config, "target"):
        from pytest_vibeserve.gate import Gate

        config.pluginmanager.register(Gate.configured(config), "vibeserve-gate")
        return
    names = [name for name, *_ in (*OPTIONS, *FLAGS)]
    stray = [f"--vibeserve-{name}" for name in names if config.getoption(f"vibeserve_{name.replace('-', '_')}")]
    if stray:
        raise pytest.UsageError(f"{stray[0]} needs a target: add --vibeserve-target NAME")


def option(config: pytest.Config, name: str) -> str:
    """An option from the command line, or else from its ini twin; "" when neither is given."""
    key = f"vibeserve_{name.replace('-', '_')}"
    return str(config.getoption(key) or config.getini(key) or "")


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Iterator[Judging]:
    """The Judge: accepts or refuses the answers of the candidate under `--vibeserve-candidate` or `--vibeserve-url`."""
    with _gate(request).judging(request.node) as judge:
        yield judge


@pytest.fixture
def evaluator(request: pytest.FixtureRequest) -> Iterator[Evaluator]:
    """The Evaluator: measures the candidate at the target's loads, and audits what it measured."""
    gate = _gate(request)
    with gate.evaluating(request.node, request.getfixturevalue("benchmark")) as evaluator:
        yield evaluator


def _gate(request: pytest.FixtureRequest) -> Gate:
    from pytest_vibeserve.gate import Gate

    gate = request.config.pluginmanager.get_plugin("vibeserve-gate")
    if not isinstance(gate, Gate):
        pytest.skip("no target: run with --vibeserve-target NAME --vibeserve-candidate DIR")
    return gate


if TYPE_CHECKING:
    from pytest_vibeserve.gate import Gate
