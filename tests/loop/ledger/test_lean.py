from __future__ import annotations

from round_lab import starter, worked

from vibeserve_loop.ledger.lean import Shelf
from vibeserve_loop.records import Round


def test_a_kept_record_is_the_same_record() -> None:
    record = worked(3, 1.4)
    told = record.model_dump_json(by_alias=True)
    kept = Shelf().kept(Round.model_validate_json(told))
    assert kept == record
    assert kept.model_dump_json(by_alias=True) == told
    assert kept.model_fields_set >= {"round", "task", "decision"}


def test_what_is_equal_in_two_records_is_one_object() -> None:
    shelf = Shelf()
    one, other = (
        shelf.kept(Round.model_validate_json(r.model_dump_json(by_alias=True))) for r in (starter(), starter())
    )
    assert one.assessment is not None
    assert other.assessment is not None
    assert one.assessment.hints is other.assessment.hints
    assert one.commit is other.commit
    assert one.__pydantic_fields_set__ is other.__pydantic_fields_set__


def test_what_differs_stays_apart() -> None:
    shelf = Shelf()
    one, other = shelf.kept(worked(1, 1.4)), shelf.kept(worked(2, 1.5))
    assert (one.round, other.round, one.commit, other.commit) == (1, 2, "c1", "c2")
    assert one.assessment != other.assessment
