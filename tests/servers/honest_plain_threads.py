"""Serves by the standard library alone: HTTP/1.0, a thread for each client, an answer ends with its connection."""

import json
import queue
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import generation
from answers import Answer
from card import read_card
from protocol import RequestError, parse
from sequence import Event
from text import Vocabulary

ABSENT = RequestError("no such path", status=404)


class Service(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, address: tuple[str, int], folder: Path) -> None:
        self.card, self.vocabulary = read_card(folder), Vocabulary(folder)
        self.events: dict[str, queue.SimpleQueue[Event]] = {}
        self.generator = generation.Generator(folder, self.card, self.vocabulary, self.told)
        super().__init__(address, Client)

    def told(self, events: list[Event]) -> None:
        for event in events:
            if event.request_id in self.events:
                self.events[event.request_id].put(event)


class Client(BaseHTTPRequestHandler):
    def said(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        listed = json.dumps({"object": "list", "data": [{"id": self.server.card.name, "object": "model"}]})
        known = {"/health": b"", "/v1/models": listed.encode()}
        self.said(200 if self.path in known else 404, known.get(self.path, ABSENT.body()))

    def do_POST(self) -> None:
        service, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path != "/v1/completions":
                raise ABSENT
            request = parse(body, service.card, service.vocabulary)
        except RequestError as error:
            return self.said(error.status, error.body())
        answer = Answer(request, service.card.name, service.vocabulary)
        events = service.events[request.id] = queue.SimpleQueue()
        service.generator.submit(request)
        try:
            (self.streamed if request.stream else self.whole)(answer, events, len(request.prompts) * request.n)
        except OSError:
            service.generator.cancel(request)
        del service.events[request.id]

    def streamed(self, answer: Answer, events: queue.SimpleQueue[Event], _: int) -> None:
        self.said(200, b"", "text/event-stream")
        while not answer.complete:
            self.wfile.write(answer.frame(events.get()))
        self.wfile.write(answer.closing())

    def whole(self, answer: Answer, events: queue.SimpleQueue[Event], unfinished: int) -> None:
        heard: list[Event] = []
        while sum(event.finish_reason is not None for event in heard) < unfinished:
            heard += [events.get()]
        self.said(200, answer.whole(heard))


options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
Service((options["--host"], int(options["--port"])), Path(options["--model"])).serve_forever()
