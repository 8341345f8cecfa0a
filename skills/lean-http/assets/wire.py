"""HTTP/1.1 on the wire: requests out of bytes, responses into bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 16 * 1024 * 1024
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class WireError(Exception):
    """Bytes that are not a request which can be read; `status` is the HTTP status of the refusal."""

    def __init__(self, status: HTTPStatus) -> None:
        """Keep the status."""
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as it came; `path` without the query."""

    method: str
    path: str
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class _Head:
    """The lines before a body; `length` is None when the body comes in chunks."""

    method: str
    path: str
    keep_alive: bool
    length: int | None
    expects: bool


class Reader:
    """Cuts a growing stream of bytes into requests."""

    def __init__(self) -> None:
        """Begin at the start of a request."""
        self._bytes = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()

    def feed(self, received: bytes) -> None:
        """Take received bytes; WireError when more is pending than any request may hold."""
        self._bytes += received
        if len(self._bytes) > LARGEST_HEAD + LARGEST_BODY:
            raise WireError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def awaited(self) -> bool:
        """Return, once, whether the client waits for leave to send its body."""
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None or not head.expects or self._bytes:
            return False
        self._head = _Head(head.method, head.path, head.keep_alive, head.length, False)
        return True

    def next(self) -> Incoming | None:
        """Return the next complete request, or None; WireError when the bytes are no request."""
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None:
            return None
        body = self._chunked() if head.length is None else self._taken(head.length)
        if body is None:
            return None
        self._head = None
        return Incoming(head.method, head.path, body, head.keep_alive)

    def _read_head(self) -> _Head | None:
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0:
            if len(self._bytes) > LARGEST_HEAD:
                raise WireError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return None
        first, *lines = self._bytes[:end].decode("latin-1").lstrip("\r\n").split("\r\n")
        del self._bytes[: end + 4]
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise WireError(HTTPStatus.BAD_REQUEST)
        fields = dict(_fields(lines))
        connection = fields.get("connection", "").lower()
        keep_alive = connection != "close" and (parts[2] == "HTTP/1.1" or connection == "keep-alive")
        expects = fields.get("expect", "").lower() == "100-continue"
        return _Head(parts[0], parts[1].partition("?")[0], keep_alive, _length(fields), expects)

    def _taken(self, length: int) -> bytes | None:
        if len(self._bytes) < length:
            return None
        body = bytes(self._bytes[:length])
        del self._bytes[:length]
        return body

    def _chunked(self) -> bytes | None:
        """Return a body that came in chunks when its last chunk is there; trailers are dropped."""
        while (line := self._bytes.find(b"\r\n")) >= 0:
            digits = bytes(self._bytes[:line]).partition(b";")[0].strip()
            if not digits or digits.strip(b"0123456789abcdefABCDEF"):
                raise WireError(HTTPStatus.BAD_REQUEST)
            size = int(digits, 16)
            end = line + 2 + size + 2
            if size == 0:
                end = self._bytes.find(b"\r\n\r\n", line) + 4
                if end < 4:
                    return None
                del self._bytes[:end]
                body, self._body = bytes(self._body), bytearray()
                return body
            if len(self._bytes) < end:
                return None
            self._body += self._bytes[line + 2 : end - 2]
            del self._bytes[:end]
            if len(self._body) > LARGEST_BODY:
                raise WireError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return None


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError(HTTPStatus.BAD_REQUEST)
        yield name.lower(), value.strip()


def _length(fields: dict[str, str]) -> int | None:
    """Return the length of the body in bytes; None when it comes in chunks."""
    if "transfer-encoding" in fields:
        if fields["transfer-encoding"].lower() != "chunked":
            raise WireError(HTTPStatus.NOT_IMPLEMENTED)
        return None
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise WireError(HTTPStatus.BAD_REQUEST)
    if int(length) > LARGEST_BODY:
        raise WireError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def response(status: int, body: bytes, keep_alive: bool = True) -> bytes:
    """Return a whole response with a JSON body."""
    phrase = HTTPStatus(status).phrase
    closing = "" if keep_alive else "Connection: close\r\n"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{closing}\r\n"
    )
    return head.encode("ascii") + body


def chunk(data: bytes) -> bytes:
    """Return one chunk of a response that comes in chunks; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
