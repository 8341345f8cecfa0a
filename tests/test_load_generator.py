"""The load generator against a real server with known behaviour, each in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from itertools import pairwise
from time import monotonic, sleep
from typing import Any

import pytest
from servers.stub import DONE, EVENT, PAYLOAD, running_stub

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import CANCELLED, ClientHealth, Exchange, LoadGenerator, bottleneck


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_stub() as (_, port):
        yield port


@pytest.fixture(scope="module")
def generator(port: int) -> Iterator[LoadGenerator]:
    with LoadGenerator("127.0.0.1", port) as generator:
        yield generator


def gets(path: str, count: int, **fields: Any) -> list[Exchange]:
    return [Exchange(index, "GET", path, **fields) for index in range(count)]


def stream(tokens: int, **fields: Any) -> Exchange:
    return Exchange(0, "POST", "/v1/completions", json.dumps({"max_tokens": tokens}).encode(), **fields)


def seen(generator: LoadGenerator) -> dict[str, Any]:
    reply = generator.request(Exchange(0, "GET", "/log"))
    assert not reply.error
    log: dict[str, Any] = json.loads(reply.body)
    return log


def test_a_closed_loop_keeps_exactly_its_concurrency_in_the_air() -> None:
    with running_stub() as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        traffic = generator.closed(gets("/together", 12), 4)
        assert [reply.error for reply in traffic.replies] == [""] * 12
        assert [reply.id for reply in traffic.replies] == list(range(12))
        assert seen(generator)["most_waiting"] == 4
        assert traffic.wall_s == max(reply.done_s for reply in traffic.replies)


def test_an_open_loop_keeps_its_schedule_while_the_server_is_frozen() -> None:
    schedule = [index / 100 for index in range(30)]
    exchanges = [Exchange(index, "GET", "/sized", at_s=at, timeout_s=2) for index, at in enumerate(schedule)]
    with running_stub() as (server, port), LoadGenerator("127.0.0.1", port) as generator:
        server.send_signal(signal.SIGSTOP)
        replies = generator.open(exchanges).replies
        server.send_signal(signal.SIGCONT)
    assert {reply.error for reply in replies} == {"no answer within 2 s"}
    assert [reply.scheduled_s for reply in replies] == pytest.approx(schedule, abs=1e-6)
    assert all(reply.sent_s >= reply.scheduled_s for reply in replies)
    assert max(reply.sent_s for reply in replies) < min(reply.done_s for reply in replies)


def test_an_open_loop_sends_in_the_order_of_the_schedule_and_reports_in_the_order_asked(
    generator: LoadGenerator,
) -> None:
    replies = generator.open([Exchange(index, "GET", "/sized", at_s=0.1 - index / 100) for index in range(10)]).replies
    assert [reply.id for reply in replies] == list(range(10))
    assert all(late.sent_s > early.sent_s for late, early in pairwise(replies))


@pytest.mark.parametrize(
    "path",
    ["/sized", "/chunked", "/trailer", "/continue", "/until-close", "/drip-sized", "/drip-chunked", "/close-told"],
)
def test_a_body_comes_back_whole_however_it_is_framed_and_cut(generator: LoadGenerator, path: str) -> None:
    replies = generator.closed(gets(path, 3), 1).replies
    assert [(reply.status, reply.error, reply.body) for reply in replies] == [(200, "", PAYLOAD)] * 3
    assert replies[0].header("Content-Type") == "text/event-stream"


def test_streamed_events_are_stamped_in_order_between_sending_and_end(generator: LoadGenerator) -> None:
    traffic = generator.closed([stream(20)] * 16, 16)
    for reply in traffic.replies:
        times = [reply.sent_s, *(at for at, _ in reply.chunks), reply.done_s]
        assert times == sorted(times)
        assert reply.chunks[-1][0] == reply.done_s
        assert reply.body == EVENT * 20 + DONE
    assert traffic.health.cpu_s > 0


def test_a_cancelled_request_is_closed_while_the_server_still_streams() -> None:
    with running_stub() as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        reply = generator.request(stream(1_000_000, cancel_after_s=0.3))
        assert (reply.error, reply.cancelled) == (CANCELLED, True)
        assert reply.body != EVENT * 1_000_000 + DONE
        limit = monotonic() + 30
        while seen(generator)["abandoned"] != 1:
            assert monotonic() < limit
            sleep(0.05)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/hang-up", 0, "connection closed before an answer"),
        ("/reset", 0, "connection reset"),
        ("/garbage", 0, "malformed answer: not an HTTP/1.1 status line"),
        ("/bad-length", 200, "malformed answer: not a content length: '-5'"),
        ("/bad-chunk", 200, "malformed answer: not a chunk size: b'zz'"),
        ("/early-end", 200, "connection closed within the answer, after 53 bytes"),
        ("/early-end-chunked", 200, "connection closed within the answer, after 58 bytes"),
        ("/too-much", 200, "malformed answer: 4 bytes beyond its end"),
        ("/endless", 200, "malformed answer: it is larger than the client accepts"),
        ("/never", 0, "no answer within 0.2 s"),
    ],
)
def test_what_the_server_does_wrong_is_the_error_of_its_reply(
    generator: LoadGenerator, path: str, status: int, error: str
) -> None:
    reply = generator.request(Exchange(7, "GET", path, timeout_s=0.2 if path == "/never" else 30))
    assert (reply.id, reply.status) == (7, status)
    assert reply.error.startswith(error)


def test_a_refusal_is_an_answer_and_no_error(generator: LoadGenerator) -> None:
    reply = generator.request(Exchange(0, "GET", "/refuse"))
    assert (reply.status, reply.error, reply.body) == (400, "", b"{}")


def test_a_dead_server_is_an_error_of_each_reply() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with LoadGenerator("127.0.0.1", taken.getsockname()[1]) as generator:
            closed = generator.closed(gets("/", 3), 2).replies
            opened = generator.open(gets("/", 3, at_s=0.0)).replies
    assert {reply.error for reply in closed + opened} == {"connection failed: Connection refused"}


def test_a_deadline_tells_what_was_not_answered_from_what_was_never_sent(generator: LoadGenerator) -> None:
    closed = generator.closed(gets("/never", 3), 1, deadline_s=0.3).replies
    opened = generator.open(gets("/never", 2, at_s=0.0), deadline_s=0.3).replies
    ended = "the client stopped 0.3 s after the start, before this was"
    assert [reply.error for reply in closed] == [f"{ended} answered", f"{ended} sent", f"{ended} sent"]
    assert [reply.error for reply in opened] == [f"{ended} answered"] * 2
    assert all(reply.was_stopped for reply in closed + opened)


def test_without_a_deadline_every_request_has_its_whole_timeout(generator: LoadGenerator) -> None:
    replies = generator.closed(gets("/never", 9, timeout_s=0.2), 2).replies
    assert [reply.error for reply in replies] == ["no answer within 0.2 s"] * 9
    assert not any(reply.was_stopped for reply in replies)


def test_a_traffic_of_nothing_is_nothing(generator: LoadGenerator) -> None:
    assert (generator.closed([], 4).replies, generator.open([]).wall_s) == ((), 0.0)


def test_connections_are_kept_within_a_traffic_and_closed_after_it() -> None:
    with running_stub() as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        assert {reply.error for reply in generator.closed(gets("/sized", 20), 2).replies} == {""}
        assert seen(generator)["connections"] == 3
        assert seen(generator)["connections"] == 4


def test_a_kept_connection_that_the_server_closed_is_opened_again(generator: LoadGenerator) -> None:
    replies = generator.closed(gets("/close-after", 30), 3).replies
    assert [(reply.error, reply.body) for reply in replies] == [("", PAYLOAD)] * 30


def test_no_header_tells_one_request_from_another() -> None:
    with running_stub() as (_, port), LoadGenerator("127.0.0.1", port) as generator:
        generator.closed([stream(2), *gets("/sized", 2), stream(3)], 2)
        with LoadGenerator("127.0.0.1", port) as other:
            other.open(gets("/chunked", 2, at_s=0.0))
        requests = [request.split("\r\n") for request in seen(generator)["requests"]]
    heads = [[line for line in lines[1:] if not line.startswith("Content-Length: ")] for lines in requests]
    assert len(heads) == 6
    assert all(head == heads[0] for head in heads)
    assert [line.partition(":")[0] for line in heads[0]] == ["Host", "Accept", "User-Agent", "Content-Type"]


def test_large_requests_pass_whole(generator: LoadGenerator) -> None:
    body = json.dumps({"max_tokens": 2, "prompt": "x" * 5_000_000}).encode()
    assert generator.request(Exchange(0, "POST", "/v1/completions", body)).body == EVENT * 2 + DONE


def test_orders_that_make_no_sense_say_what_to_change(generator: LoadGenerator) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        generator.closed(gets("/sized", 1), 0)
    with pytest.raises(UsageError, match="at_s"):
        generator.open(gets("/sized", 1))


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (ClientHealth(0.004, 0.001, 0.5, 0.3), None),
        (ClientHealth(0.030, 0.001, 0.5, 0.3), "30.0 ms late"),
        (ClientHealth(0.004, 0.080, 0.5, 0.3), "80.0 ms after their schedule"),
        (ClientHealth(0.004, 0.001, 5.0, 0.99), "busy 99 %"),
        (ClientHealth(0.004, 0.001, 0.01, 1.0), None),
    ],
)
def test_a_client_that_could_not_keep_up_says_why(health: ClientHealth, reason: str | None) -> None:
    found = bottleneck(health)
    assert found is None if reason is None else reason in str(found)
