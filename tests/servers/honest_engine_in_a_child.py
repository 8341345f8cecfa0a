"""Keeps the model in a process of its own, which it talks to through pipes."""

import multiprocessing
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import generation
import server
from card import Card
from generation import Deliver
from protocol import Request
from text import Vocabulary


class Front:
    """What the service takes for the generator."""

    def __init__(self, folder: Path, card: Card, vocabulary: Vocabulary, deliver: Deliver) -> None:
        asked, told = multiprocessing.Pipe(), multiprocessing.Pipe()
        multiprocessing.Process(target=engine, args=(folder, card, asked[1], told[0]), daemon=True).start()
        self.asked, self.told, self.deliver = asked[0], told[1], deliver
        self.told.recv()
        threading.Thread(target=self.heard, daemon=True).start()

    def submit(self, request: Request) -> None:
        self.asked.send(request)

    def cancel(self, request: Request) -> None:
        self.asked.send(request.id)

    def heard(self) -> None:
        while True:
            self.deliver(self.told.recv())


def engine(folder: Path, card: Card, asked: Connection, told: Connection) -> None:
    """The child: hands on what it is asked, and what the model says."""
    model = generation.Generator(folder, card, Vocabulary(folder), told.send)
    told.send("ready")
    while True:
        order = asked.recv()
        if isinstance(order, Request):
            model.submit(order)
        else:
            model.cancelled.add(order)


server.Generator = Front
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    server.main()
