"""Inside a namespace without a network: endpoints at loopback addresses; started as a script, by path.

    doorway.py SOCKET ADDRESS PORT [SOCKET ADDRESS PORT]... -- COMMAND WORD...

Connections to ADDRESS:PORT go through the local socket to whoever relays them outside; nothing else is reachable.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading

PIECE = 65536


def main(doors: list[str], command: list[str]) -> int:
    """Open the doors, run the command, and return its exit status."""
    for path, address, port in zip(doors[::3], doors[1::3], doors[2::3], strict=True):
        listener = socket.create_server((address, int(port)))
        threading.Thread(target=_serve, args=(listener, path), daemon=True).start()
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while True:
        # An interrupt is meant for the command, which has it too.
        with contextlib.suppress(KeyboardInterrupt):
            code = process.wait()
            return code if code >= 0 else 128 - code


def _serve(listener: socket.socket, path: str) -> None:
    while True:
        inside, _ = listener.accept()
        outside = socket.socket(socket.AF_UNIX)
        try:
            outside.connect(path)
        except OSError:
            inside.close()
            outside.close()
            continue
        for source, sink in ((inside, outside), (outside, inside)):
            threading.Thread(target=pass_on, args=(source, sink), daemon=True).start()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction to its end, then close the other's."""
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.stdout.flush()
    end = sys.argv.index("--")
    os._exit(main(sys.argv[1:end], sys.argv[end + 1 :]))
