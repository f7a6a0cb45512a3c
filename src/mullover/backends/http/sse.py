"""Server-sent events: bytes as they come in, the data of whole events out."""

import orjson

from mullover.backends.http.failures import AttemptError

DONE = b"[DONE]"
MOST = 64 << 20  # bytes of one response
LONGEST = 16 << 20  # bytes of one event


class Events:
    """`feed` bytes, get the data of the events that they complete. Comments and other fields are passed over.

    Source: WHATWG HTML, section 9.2.6 (interpreting an event stream); line ends may be LF, CRLF or CR LF mixed.
    """

    def __init__(self) -> None:
        self.rest, self.size = b"", 0
        self.data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """
        Raises:
            AttemptError: an event or the whole response is longer than we take.
        """
        self.size += len(received)
        if self.size > MOST:
            raise AttemptError(f"the server sent more than {MOST >> 20} MB; it was cut off")
        lines = (self.rest + received).split(b"\n")
        self.rest = lines.pop()
        if len(self.rest) > LONGEST:
            raise AttemptError(f"the server sent an event of more than {LONGEST >> 20} MB; it was cut off")
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self.data.append(line[5:].strip())
            elif not line.strip() and self.data:
                found.append(self.data[0] if len(self.data) == 1 else b"\n".join(self.data))
                self.data = []
        return found

    def end(self) -> list[bytes]:
        """A last event that no blank line closed, if it is whole; one that was cut off is none."""
        found = self.feed(b"\n\n")
        self.rest, self.data = b"", []
        return [data for data in found if data == DONE or _is_json(data)]


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
