"""`http://host:port/v1#name;key=MY_KEY`: where a server is, which of its models, and who we are to it."""

import os
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from mullover.errors import OptionError

FORM = "URL#name, such as http://localhost:8000/v1#qwen3"

# The variable in which each service's own client looks for its key.
USUAL = {
    "api.openai.com": "OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
}
LOCAL = ("VLLM_API_KEY", "LLAMA_API_KEY")  # the servers' own variables, read where the host is this machine
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Spec:
    """One model of one server. The key itself is no part of it, so no record, message or hash has it."""

    url: str  # with the path under which the API is, without a final slash
    name: str
    key_from: str = ""  # the environment variable that holds the key
    template: str = ""  # a chat template's file, for raw completions
    host: str = field(default="", compare=False)  # with the port, for messages

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            OptionError: it is not of this form, or it holds a password.
        """
        address, mark, rest = text.partition("#")
        name, *words = rest.split(";")
        if "@" in address:  # no message below may repeat a password
            raise OptionError("a server's address holds no password; name its variable: URL#name;key=MY_KEY")
        if "?" in address:
            raise OptionError(f"a server's address has no query (?...), where keys leak; write {FORM}")
        try:
            parts = urlsplit(address)
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError as error:
            raise OptionError(f"{address!r} is no URL: {error}; write {FORM}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in address):
            raise OptionError(f"{address!r} is no address of a server; write {FORM}")
        if parts.port == 0:
            raise OptionError(f"{address!r} has port 0, where no server is; write {FORM}")
        if not mark or not name.strip():
            raise OptionError(f"{address!r} names no model; write {FORM}; `mull doctor --model {address}` lists them")
        more = dict(word.partition("=")[::2] for word in words)
        if more.keys() - {"key", "template"}:
            raise OptionError(f"after {name!r} there may be ;key=VARIABLE and ;template=FILE, and nothing else")
        if "key" in more and not more["key"].isidentifier():
            raise OptionError("after ;key= comes the name of an environment variable, never the key itself")
        path = parts.path.rstrip("/") or "/v1"
        netloc = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            f"{parts.scheme}://{netloc}{port}{path}",
            name.strip(),
            more.get("key", ""),
            more.get("template", ""),
            f"{netloc}{port}",
        )

    @property
    def root(self) -> str:
        """The server's address, above the API's own path."""
        return self.url.removesuffix("/v1")

    @property
    def label(self) -> str:
        return f"{self.name}@{self.host}"

    def key(self) -> str:
        """From the variable that the spec names, or else the service's usual one; "" where there is none.

        The usual one goes to this machine, or out by https alone.

        Raises:
            OptionError: the spec names a variable that is not set, or a key that no header can carry.
        """
        if self.key_from and self.key_from not in os.environ:
            raise OptionError(f"{self.label} takes its key from {self.key_from}, which is not set; export it")
        parts = urlsplit(self.url)
        host = (parts.hostname or "").lower()
        usual = LOCAL if host in LOOPBACK else (USUAL.get(host, ""),) if parts.scheme == "https" else ()
        names = (self.key_from,) if self.key_from else usual
        key = next((os.environ[name] for name in names if os.environ.get(name)), "").strip()
        if not key.isascii() or not key.isprintable():
            raise OptionError(f"the key for {self.label} has characters that no header can carry; mend its variable")
        return key
