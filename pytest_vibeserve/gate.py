"""The hooks of an active gate: what is collected, in which order it runs, and how a session ends."""

from __future__ import annotations

import datetime
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_vibeserve import terminal
from pytest_vibeserve.bench import Record
from pytest_vibeserve.candidate import tree_digest
from pytest_vibeserve.errors import (
    CandidateFailure,
    ContractBroken,
    ExitCode,
    Inconclusive,
    InfrastructureError,
    UsageError,
)
from pytest_vibeserve.evaluator import Evaluator
from pytest_vibeserve.exports import write_exports
from pytest_vibeserve.findings import PROPERTY, Findings, blame, pack
from pytest_vibeserve.modalities import Judging
from pytest_vibeserve.plugin import option
from pytest_vibeserve.report import CandidatePart, Measurement, Report, write_report
from pytest_vibeserve.session import Session, Sharing
from pytest_vibeserve.settings import Settings, read_settings
from pytest_vibeserve.verdict import Run, assemble

SHARED = "vibeserve"
PLAIN = (ContractBroken, Inconclusive, CandidateFailure, InfrastructureError, UsageError)


class Gate:
    """The plugin object of one gate; it exists only when a target was asked for."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Nothing is started before the first test asks for it."""
        self._config, self.settings = config, settings
        handed = getattr(config, "workerinput", {}).get(SHARED)
        self._is_worker = hasattr(config, "workerinput")
        self.session = Session(settings, self._keep, Sharing.read(handed) if handed else None)
        self.findings = Findings()
        self.report: Report | None = None
        self._item: pytest.Item | None = None
        self._sharing: Sharing | None = None
        self._tree = tree_digest(settings.candidate) if settings.candidate else ""
        self._began = time.monotonic()
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    @classmethod
    def configured(cls, config: pytest.Config) -> Gate:
        """A gate from the command line; a usage error is pytest's own, so that it exits with 4 and one line."""
        try:
            settings = read_settings(lambda name: option(config, name), config.invocation_params.dir)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args[:] = [str(settings.target.folder)]
        config.option.importmode = "importlib"
        if getattr(config.option, "dist", "no") == "load":
            # What is measured is measured by one worker, which starts one baseline.
            config.option.dist = "loadfile"
        return cls(config, settings)

    # -- what a test asks for

    @contextmanager
    def judging(self, item: pytest.Item) -> Iterator[Judging]:
        """The Judge for one test."""
        with self.session.judging() as judge:
            yield judge

    @contextmanager
    def evaluating(self, item: pytest.Item, benchmark: Any) -> Iterator[Evaluator]:
        """The Evaluator for one test."""
        with self.session.evaluating(benchmark) as evaluator:
            yield evaluator

    def _keep(self, record: Record) -> None:
        assert self._item is not None
        self._item.user_properties.append((PROPERTY, pack(record)))
        if isinstance(record, Measurement):
            self._item.user_properties.append((f"{record.metric}@{record.load} [{record.unit}]", f"{record.value:.6g}"))

    # -- collection

    def pytest_report_header(self) -> list[str]:
        """Say what is judged by what."""
        judged = self.settings.url or str(self.settings.candidate)
        target = self.settings.target
        return [f"vibeserve: {judged} by {target.name} ({target.profile} profile, {self.settings.depth} depth)"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give each test its role by the fixture it asks for, and let accuracy go before performance."""
        for item in items:
            fixtures = getattr(item, "fixturenames", ())
            if "judge" in fixtures and "evaluator" in fixtures:
                raise pytest.UsageError(f"{item.nodeid} asks for judge and evaluator: make two tests of it")
            if "judge" in fixtures:
                item.add_marker("vibeserve_accuracy")
            elif "evaluator" in fixtures:
                item.add_marker("vibeserve_performance")
        items.sort(key=_is_performance)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is to run, to be held against what did."""
        self.findings.expected[:] = [item.nodeid for item in session.items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note the same where workers collect."""
        self.findings.expected[:] = ids

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what was left out: an acceptance must say so."""
        self.findings.deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be collected is the user's to mend."""
        if report.failed:
            self.findings.usage.append(f"{report.nodeid} cannot be collected")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Under xdist, start the one server that all workers share, and tell each of them."""
        if self._sharing is None:
            self._sharing = self.session.share()
        node.workerinput[SHARED] = self._sharing.text()

    # -- running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Measure nothing that was refused."""
        self._item = item
        if _is_performance(item) and self.findings.rejected:
            pytest.skip("not measured: the candidate was not accepted")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Sort a failure by whose it is, and show it as a sentence instead of a traceback."""
        report = yield
        if call.excinfo is None:
            return report
        error = call.excinfo.value
        for name, text in blame(item, error):
            item.user_properties.append((name, text))
        if isinstance(error, PLAIN):
            report.longrepr = str(error)
        if isinstance(error, (CandidateFailure, UsageError, InfrastructureError)):
            item.session.shouldstop = str(error)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test found, whichever process it ran in."""
        if report.when == "call" and report.passed and "vibeserve_accuracy" in report.keywords:
            self.findings.passed_accuracy.add(report.nodeid)
        if report.skipped:
            self.findings.skipped.append(report.nodeid)
        if report.when != "teardown":
            return
        self.findings.ran.append(report.nodeid)
        for name, value in report.user_properties:
            self.findings.take(name, str(value))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that somebody ended the session; a gate that stops by itself has its verdict."""
        stopped_itself = isinstance(excinfo.value, pytest.Session.Interrupted)
        # Under xdist the controller ends by an exception of xdist's own when a worker has stopped by itself.
        by_a_worker = type(excinfo.value).__module__.startswith("xdist.")
        self.findings.interrupted = not (stopped_itself or by_a_worker)

    # -- the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop everything; where the session is whole, write the report and let the verdict be the exit code."""
        isolation = self.session.isolation
        self.session.close()
        if self._is_worker:
            return
        self.findings.records.extend(self.session.last_checks())
        if self.findings.usage:
            session.exitstatus = ExitCode.USAGE
            return
        if self._config.option.collectonly and not session.testsfailed:
            session.exitstatus = ExitCode.NOTHING
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR or (session.testscollected == 0 and not self._sharing):
            return
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            self.findings.infrastructure.append("pytest itself failed; see the traceback above")
        self.report = self._report(isolation)
        write_report(self.report, self.settings.report)
        write_exports(self.report, self.settings)
        self._to_junit(self.report)
        if not self.findings.interrupted:
            session.exitstatus = self.report.verdict.exit_code

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The verdict at a glance."""
        for text in self.findings.usage:
            terminalreporter.write_line(f"usage: {text}", red=True)
        if self._config.option.collectonly:
            terminalreporter.write_line("nothing was judged: the tests were only collected")
        elif not (self.findings.expected or self.findings.usage):
            folder = self.settings.target.folder
            terminalreporter.write_line(
                f"nothing was judged: write {folder}/test_accuracy.py with tests that ask for `judge`"
            )
        if self.report is None:
            return
        good = self.report.verdict.outcome == "accepted"
        terminalreporter.section("vibeserve", sep="=", bold=True, green=good, red=not good)
        terminalreporter.write_line(terminal.title(self.report), bold=True, green=good, red=not good)
        for line in terminal.lines(self.report):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"report     {self.settings.report}")

    def _to_junit(self, report: Report) -> None:
        from _pytest.junitxml import xml_key

        xml = self._config.stash.get(xml_key, None)
        if xml is None:
            return
        xml.add_global_property("vibeserve.outcome", report.verdict.outcome)
        xml.add_global_property("vibeserve.reason", report.verdict.reason)
        for found in report.measurements:
            name = f"vibeserve.{found.metric}@{found.load}"
            xml.add_global_property(name, f"{found.value:.6g} {found.unit}")
            xml.add_global_property(f"{name}.interval", f"{found.low:.6g} to {found.high:.6g} {found.unit}")
        if compared := report.comparison:
            for one in compared.objectives:
                name = f"vibeserve.{one.metric}@{one.load or compared.load}.gain"
                told = f"{one.gain:.4g} [{one.low:.4g}, {one.high:.4g}] {one.conclusion}"
                xml.add_global_property(name, told)

    def _report(self, isolation: str) -> Report:
        folder = self.settings.candidate
        judged = CandidatePart(
            path=self.settings.url or str(folder), tree=self._tree, tree_after=tree_digest(folder) if folder else ""
        )
        run = Run(self._started, time.monotonic() - self._began, isolation)
        return assemble(self.settings, self.findings, self.session.secret, judged, run)


def _is_performance(item: pytest.Item) -> bool:
    return item.get_closest_marker("vibeserve_performance") is not None
