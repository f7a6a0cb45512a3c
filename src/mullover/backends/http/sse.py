"""Server-sent events: bytes as they come in, the data of whole events out."""

import orjson

from mullover.backends.http.failures import AttemptError

BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
MOST = 256 << 20  # bytes of one stream, of which only the last event is held
LONGEST = 8 << 20  # bytes of one event, or of a body that is no stream


class Events:
    """`feed` bytes, get the data of the events that they complete. Comments and other fields are passed over.

    Source: WHATWG HTML, section 9.2.6 (interpreting an event stream); line ends may be LF, CRLF or both.
    """

    def __init__(self) -> None:
        self.long: list[bytes] = []  # parts of a line that has not ended
        self.begun = False
        self.size = self.held = self.event = 0  # bytes
        self.data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """
        Raises:
            AttemptError: an event or the whole response is longer than we take.
        """
        self.size += len(received)
        if self.size > MOST:
            raise AttemptError(f"the server sent more than {MOST >> 20} MB; it was cut off")
        if b"\n" not in received:  # the middle of a long line: its parts are joined once
            self.long.append(received)
            self.held += len(received)
            if self.held > LONGEST:
                raise AttemptError(f"the server sent an event of more than {LONGEST >> 20} MB; it was cut off")
            return []
        text = b"".join((*self.long, received)) if self.held else received
        lines = text.split(b"\n")
        if not self.begun:
            self.begun, lines[0] = True, lines[0].removeprefix(BOM)
        rest = lines.pop()
        self.long, self.held = [rest], len(rest)
        found = []
        data = self.data
        for line in lines:
            if line[:5] == b"data:":
                data.append(line[5:].strip())
                self.event += len(line)
                if self.event > LONGEST:
                    raise AttemptError(f"the server sent an event of more than {LONGEST >> 20} MB; it was cut off")
            elif data and not line.strip():
                found.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
                self.event = 0
        return found

    def end(self) -> list[bytes]:
        """A last event that no blank line closed, if it is whole; one that was cut off is none."""
        found = self.feed(b"\n\n")
        return [data for data in found if data == DONE or _is_json(data)]


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
