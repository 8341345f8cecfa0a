"""The broker's door: a local socket that takes a line of JSON with a session's token and gives a line back."""

from __future__ import annotations

import json
import shutil
import socketserver
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_vibeserve.errors import VibeserveError
from vibeserve_loop.desk.handover import Handover
from vibeserve_loop.proposals import Item
from vibeserve_loop.records import plain

if TYPE_CHECKING:
    from vibeserve_loop.broker.broker import Broker
    from vibeserve_loop.broker.visits import Visit

LONGEST_LINE = 200_000


class Listener:
    """Listens while it is entered, in a folder that only this user can open; `path` is the socket."""

    def __init__(self, broker: Broker) -> None:
        """Take whom to ask."""
        self._broker = broker
        self.path = ""

    def __enter__(self) -> Listener:
        """Begin to listen; the folder's path is short, for a socket's has to be."""
        self._folder = tempfile.mkdtemp(prefix="vibeserve-")
        self.path = str(Path(self._folder, "broker"))
        broker = self._broker

        class Door(socketserver.StreamRequestHandler):
            """One question."""

            def handle(self) -> None:
                """Answer it; whoever went away meanwhile gets nothing."""
                told = json.dumps(_answer(broker, self.rfile.readline(LONGEST_LINE)))
                try:
                    self.wfile.write(told.encode() + b"\n")
                except OSError:
                    return

        self._server = _Server(self.path, Door)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _answer(broker: Broker, line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        visit = broker.visitor(str(asked["token"]))
        ask, words = str(asked["ask"]), dict(asked["words"])
        for answers in (_of_gate, _of_board, _of_handover):
            found = answers(broker, visit, ask, words)
            if found is not None:
                return {"found": found}
        return {"refusal": f"the broker does not know {ask!r}"}
    except VibeserveError as error:
        return {"refusal": str(error)}
    except ValidationError as error:
        return {"refusal": f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {"refusal": f"not a question: {error}"}


def _of_gate(broker: Broker, visit: Visit, ask: str, words: dict[str, Any]) -> object:
    if ask == "start":
        return plain(broker.start(visit, str(words["depth"])))
    if ask == "status":
        return plain(broker.status(visit, str(words["ticket"]), float(words["wait_s"])))
    return None


def _of_board(broker: Broker, visit: Visit, ask: str, words: dict[str, Any]) -> object:
    board = broker.issues
    if ask == "issues":
        return [plain(item) for item in board.all(str(words["text"]), str(words["state"]))]
    if ask == "issue":
        return plain(board.one(str(words["name"])))
    if ask == "create":
        return plain(board.create(Item.model_validate(words["item"])))
    if ask == "update":
        return plain(board.update(*(str(words[key]) for key in ("name", "state", "reason"))))
    return None


def _of_handover(broker: Broker, visit: Visit, ask: str, words: dict[str, Any]) -> object:
    handover = Handover(visit.workspace)
    if ask == "brief":
        return handover.told()
    if ask == "submit":
        return f"round {handover.submit(str(words['summary'])).round} goes on with what was handed in"
    return None
