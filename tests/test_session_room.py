"""Where an accelerator holds the model, a candidate makes room for its own second life, and serves again afterwards."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pytest_vibeserve.bench import Record
from pytest_vibeserve.server import Server
from pytest_vibeserve.session import Session
from pytest_vibeserve.settings import read_settings
from pytest_vibeserve.target import Hardware


@pytest.mark.parametrize("backend", [pytest.param("cpu", marks=pytest.mark.slow), "cuda"])
def test_a_candidate_started_again_is_alone_on_an_accelerator(backend: str, root: Path, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    shutil.copytree(root / "targets" / "tiny_llama" / "starter", candidate)
    given = {"target": "tiny_llama", "profile": "tiny", "candidate": str(candidate), "depth": "quick"}
    settings = read_settings(lambda name: given.get(name, ""), tmp_path)
    hardware = Hardware(backend=backend, tuned_on="one card")
    settings = replace(settings, target=settings.target.model_copy(update={"hardware": hardware}))
    kept: list[Record] = []
    with closing(Session(settings, kept.append)) as session:
        bench, first = session.bench, session.server
        assert isinstance(first, Server)
        with bench.relaunched(session.contract.model) as second:
            assert not second.ask(second.fresh("again", 2))[0].fault
            assert first.alive() == (backend == "cpu")
        assert (session.server is first) == (backend == "cpu")
        assert bench.server is session.server
        assert not any(answer.fault for answer in bench.ask(bench.fresh("afterwards", 2)))
        session.close()
        assert {check.name: check.result for check in session.last_checks()}["residue"] == "pass"
