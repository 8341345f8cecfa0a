"""Sessions of several turns, caps on what is in flight, and several client processes, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from servers.stub import DONE, EVENT, running_stub

from pytest_vibeserve.load_generator import Exchange, LoadGenerator, Reply, ShardedLoadGenerator
from pytest_vibeserve.load_generator.follow_up import Spoken, filled, spoken
from pytest_vibeserve.load_generator.plan import closed
from pytest_vibeserve.load_generator.shards import dealt
from pytest_vibeserve.load_generator.sse import payloads


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_stub() as (_, port):
        yield port


def turn(id: int, after: int | None = None, *, think_s: float = 0.0, path: str = "/v1/completions") -> Exchange:
    prompt = [id, *([f"@ids:{after}"] if after is not None else [])]
    body = json.dumps({"max_tokens": 3, "prompt": prompt, "user": str(id)}).encode()
    return Exchange(id, "POST", path, body, at_s=0.0, timeout_s=20, after=after, think_s=think_s)


def session(first: int, turns: int, **fields: float) -> list[Exchange]:
    return [turn(first)] + [turn(id, id - 1, **fields) for id in range(first + 1, first + turns)]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_turn_leaves_after_the_answer_before_it_and_the_pause_to_think(port: int, is_open: bool) -> None:
    exchanges = [*session(0, 3, think_s=0.05), *session(10, 3, think_s=0.05)]
    with LoadGenerator("127.0.0.1", port) as generator:
        traffic = generator.open(exchanges) if is_open else generator.closed(exchanges, 2)
    replies = {reply.id: reply for reply in traffic.replies}
    assert {reply.body for reply in traffic.replies} == {EVENT * 3 + DONE}
    for later in (1, 2, 11, 12):
        assert replies[later].scheduled_s == pytest.approx(replies[later - 1].done_s + 0.05)
        assert replies[later].sent_s >= replies[later].scheduled_s


def test_a_slot_of_a_closed_loop_finishes_its_session_first(port: int) -> None:
    with LoadGenerator("127.0.0.1", port) as generator:
        replies = generator.closed([*session(0, 2), *session(10, 2)], 1).replies
    sent = [reply.id for reply in sorted(replies, key=lambda reply: reply.sent_s)]
    assert sent == [0, 1, 10, 11]


@pytest.mark.parametrize("path", ["/early-end-chunked", "/refuse", "/hang-up"])
def test_turns_after_a_failed_one_are_failures_and_not_dropped(port: int, path: str) -> None:
    exchanges = [turn(0, path=path), turn(1, 0), turn(2, 1), turn(3)]
    with LoadGenerator("127.0.0.1", port) as generator:
        replies = generator.closed(exchanges, 1).replies
    assert [reply.id for reply in replies] == [0, 1, 2, 3]
    assert [reply.error for reply in replies[1:]] == ["not sent: the turn before it failed"] * 2 + [""]


def test_a_session_that_the_deadline_cuts_is_whole_in_the_record(port: int) -> None:
    exchanges = [turn(0, path="/never"), turn(1, 0), turn(2)]
    with LoadGenerator("127.0.0.1", port) as generator:
        replies = generator.closed(exchanges, 1, deadline_s=0.3).replies
    assert [reply.was_stopped for reply in replies] == [True] * 3
    assert replies[0].error == "the client stopped 0.3 s after the start, before this was answered"
    assert {reply.error for reply in replies[1:]} == {"the client stopped 0.3 s after the start, before this was sent"}


def test_an_answer_is_put_where_the_next_turn_quotes_it() -> None:
    said = {3: Spoken('a "b"', (5, 6))}
    body = json.dumps({"prompt": [1, "@ids:3", 9], "content": "@text:3", "other": "say @text:3"}).encode()
    assert json.loads(filled(body, said) or b"") == {"prompt": [1, 5, 6, 9], "content": 'a "b"', "other": "say @text:3"}
    assert filled(body, {3: Spoken("x", ())}) is None


def test_an_answer_is_read_from_completions_and_from_chat() -> None:
    stream = b'data: {"choices":[{"text":"h","token_ids":[4]}]}\n\ndata: {"choices":[{"delta":{"content":"i"}}]}\n\n'
    assert spoken([(0.0, stream[:30]), (0.1, stream[30:] + DONE)]) == Spoken("hi", (4,))
    assert spoken([(0.0, stream)]) is None
    assert spoken([(0.0, b"data: [1]\n\n" + DONE)]) is None


def test_a_payload_has_the_stamp_of_the_packet_that_completed_it() -> None:
    found = list(payloads([(0.1, b'data: {"a"'), (0.2, b": 1}\n\n: ping\n\ndata: [D"), (0.3, b"ONE]\n")]))
    assert found == [(0.2, {"a": 1})]


def test_under_a_cap_the_schedule_stays_and_the_wait_for_room_is_no_delay_of_the_client() -> None:
    exchanges = [Exchange(id, "GET", "/together", at_s=id / 1000, timeout_s=20) for id in range(12)]
    with running_stub() as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        stuck = generator.open([*exchanges[:3]], most_in_flight=3, deadline_s=0.3)
    assert all(reply.was_stopped and reply.error.endswith("answered") for reply in stuck.replies)
    with running_stub("--ttft", "0.1") as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        body = b'{"max_tokens": 1}'
        traffic = generator.open(
            [Exchange(id, "POST", "/v1/completions", body, at_s=0.0) for id in range(6)], most_in_flight=2
        )
        seen = json.loads(generator.request(Exchange(0, "GET", "/log")).body)
    assert seen["most_waiting"] == 2
    assert [reply.scheduled_s for reply in traffic.replies] == [0.0] * 6
    assert sorted(reply.sent_s for reply in traffic.replies)[-1] > 0.2
    assert traffic.health.send_delay_p99_s < 0.1


def test_what_no_room_was_left_for_by_the_deadline_was_never_sent(port: int) -> None:
    exchanges = [Exchange(id, "GET", "/never", at_s=0.0) for id in range(4)]
    with LoadGenerator("127.0.0.1", port) as generator:
        traffic = generator.open(exchanges, most_in_flight=1, deadline_s=0.3)
    first, *others = (reply.error for reply in traffic.replies)
    assert first == "the client stopped 0.3 s after the start, before this was answered"
    assert others == ["the client stopped 0.3 s after the start, before this was sent"] * 3
    assert traffic.health.send_delay_p99_s < 0.1


def test_several_processes_are_one_load_generator(port: int) -> None:
    exchanges = [Exchange(id, "POST", "/v1/completions", b'{"max_tokens": 5}', at_s=id / 200) for id in range(30)]
    with ShardedLoadGenerator("127.0.0.1", port, processes=3) as generator:
        scheduled = generator.open(exchanges)
        looped = generator.closed(exchanges, 2)
    for traffic in (scheduled, looped):
        assert [reply.id for reply in traffic.replies] == list(range(30))
        assert {reply.body for reply in traffic.replies} == {EVENT * 5 + DONE}
        assert traffic.wall_s == pytest.approx(max(reply.done_s for reply in traffic.replies))
        assert traffic.health.cpu_s > 0
    assert [reply.scheduled_s for reply in scheduled.replies] == pytest.approx([id / 200 for id in range(30)])
    assert most_at_once(looped.replies) <= 2


def most_at_once(replies: tuple[Reply, ...]) -> int:
    steps = sorted([(reply.sent_s, 1) for reply in replies] + [(reply.done_s, -1) for reply in replies])
    level = most = 0
    for _, step in steps:
        level += step
        most = max(most, level)
    return most


def test_a_plan_is_dealt_with_its_sessions_whole() -> None:
    plan = closed([*session(0, 3), *session(10, 2), turn(20), turn(21)], 3)
    shares = dealt(plan, 2)
    assert [[exchange.id for exchange in share.plan.exchanges] for share in shares] == [[0, 1, 2, 20], [10, 11, 21]]
    assert [share.plan.concurrency for share in shares] == [2, 1]
    assert sorted(position for share in shares for position in share.positions) == list(range(7))
