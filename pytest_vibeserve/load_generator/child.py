"""The process of the load generator: takes orders on standard input, answers with traffic on standard output."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import resource
import select
import signal
import sys

from ..errors import InfrastructureError
from .connection import Flight
from .driver import Driver
from .frames import Order, pack_failure, pack_ready, pack_traffic, unpack, unpack_order
from .loops import ClosedLoop, OpenLoop
from .namespace import enter_network_namespace
from .traffic import Exchange, Traffic
from .vitals import Vitals

PARENT_CHECK_S = 0.5


def main() -> None:
    """Serve the process named by the first argument, in the network namespace of the second and on the third's core.

    "" is the own namespace, and any core.
    """
    parent, namespace, core = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # An interrupt from the keyboard reaches both processes; only the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        if namespace:
            enter_network_namespace(int(namespace))
        if core and sys.platform == "linux":
            os.sched_setaffinity(0, {int(core)})
    except InfrastructureError as error:
        _write(output, pack_failure(str(error)))
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = _event_loop()
    _write(output, pack_ready())
    while True:
        order = unpack_order(*unpack(lambda size: _read(size, parent)))
        try:
            frame = pack_traffic(loop.run_until_complete(_drive(order, parent)))
        except InfrastructureError as error:
            frame = pack_failure(str(error))
        _write(output, frame)


def _event_loop() -> asyncio.AbstractEventLoop:
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def _drive(order: Order, parent: int) -> Traffic:
    flights = [Flight(exchange, _request(order, exchange, exchange.body)) for exchange in order.exchanges]
    address = (order.host, order.port)
    kind: type[Driver] = OpenLoop if order.is_open else ClosedLoop
    driver = kind(address, flights, order.concurrency, lambda exchange, body: _request(order, exchange, body))
    vitals = Vitals(asyncio.get_running_loop(), parent)
    await driver.prepare()
    # Everything of a traffic stays alive until its end: a collector would only stop the clock-keeping to look at it.
    gc.collect()
    gc.disable()
    vitals.start()
    try:
        await driver.run(order.start_s, order.deadline_s)
    finally:
        health = vitals.stop([flight.send_delay for flight in flights])
        gc.enable()
    replies = tuple(flight.reply(driver.start) for flight in flights)
    return Traffic(replies, max((reply.done_s for reply in replies), default=0.0), health, driver.start)


def _request(order: Order, exchange: Exchange, body: bytes) -> bytes:
    """The same head for every request, so that none can be told from another but by what it asks."""
    host = f"[{order.host}]" if ":" in order.host else order.host
    head = (
        f"{exchange.method} {exchange.path} HTTP/1.1\r\nHost: {host}:{order.port}\r\nAccept: */*\r\n"
        f"User-Agent: {order.agent}\r\nContent-Type: {exchange.content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def _read(size: int, parent: int) -> bytes:
    """Exactly `size` bytes of standard input; the process ends when its parent has closed it or is gone."""
    data = bytearray()
    while len(data) < size:
        # Another child of the parent may hold the pipe's other end open after the parent's death.
        while not select.select([0], [], [], PARENT_CHECK_S)[0]:
            if os.getppid() != parent:
                os._exit(1)
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def _write(output: int, frame: list[bytes]) -> None:
    for piece in frame:
        view = memoryview(piece)
        while view:
            view = view[os.write(output, view) :]
