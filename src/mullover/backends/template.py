"""A chat template rendered here: of a local model, or of the user's own for servers that complete raw text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from mullover.errors import OptionError

LARGE = 1 << 20  # bytes of a template, and characters of what it renders beyond its messages


@dataclass(frozen=True)
class Template:
    """From a file that the user named, or a model's directory; never from a request, a problem, or a server.

    It runs in Jinja's immutable sandbox, which has no way to files, imports or attributes of Python.
    """

    jinja: Any
    tokens: dict[str, str]

    @classmethod
    def read(cls, path: str) -> Self:
        """A Jinja file, or a tokenizer_config.json that holds one.

        Raises:
            OptionError: it cannot be read, or is no template.
        """
        from jinja2.exceptions import TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"cannot read the chat template {path}: {error}") from None
        tokens: dict[str, str] = {}
        if path.endswith(".json"):
            text, tokens = _of_config(path, text)
        if len(text) > LARGE:
            raise OptionError(f"the chat template {path} is larger than {LARGE >> 20} MB; name another file")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", generation()]
        )
        environment.globals["raise_exception"] = _refused
        environment.globals["strftime_now"] = _now
        environment.filters["tojson"] = _json
        try:
            return cls(environment.from_string(text), tokens)
        except TemplateSyntaxError as error:
            raise OptionError(f"the chat template {path}, line {error.lineno}: {error.message}") from None
        except (RecursionError, MemoryError):
            raise OptionError(f"the chat template {path} is nested too deep") from None

    @staticmethod
    def tokens_of(config: Mapping[str, Any]) -> dict[str, str]:
        """Special tokens by name, as a tokenizer_config.json has them."""
        return {name: _token(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}

    def render(self, messages: Sequence[dict[str, Any]], thinking: bool | str | int | None) -> str:
        """The prompt up to where the assistant speaks.

        Raises:
            OptionError: the template refuses these messages.
        """
        from jinja2.exceptions import TemplateError

        on = bool(thinking) and thinking != "none"
        more = {} if thinking is None else {"enable_thinking": on, "thinking": on}
        parts, most = list[str](), LARGE + 4 * sum(len(str(message)) for message in messages)
        try:
            for part in self.jinja.generate(messages=messages, add_generation_prompt=True, **self.tokens, **more):
                parts.append(part)
                most -= len(part)
                if most < 0:
                    raise ValueError("it renders without end")
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(f"the chat template refuses these messages: {error}") from None
        except (RecursionError, MemoryError):
            raise OptionError("the chat template refuses these messages: it is nested too deep, or too large") from None
        return "".join(parts)


def generation() -> type[Any]:
    """The tag `generation` that templates put around what an assistant said: it changes nothing here."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  as Jinja declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(str(form)[:100])


def _refused(message: object) -> None:
    raise ValueError(str(message))


def _json(value: object, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _of_config(path: str, text: str) -> tuple[str, dict[str, str]]:
    try:
        config = json.loads(text)
        template = config["chat_template"]
        if isinstance(template, list):  # several, by name
            template = next(one["template"] for one in template if one["name"] == "default")
    except (ValueError, KeyError, TypeError, StopIteration):
        raise OptionError(f"{path} holds no chat_template; name a .jinja file, or a tokenizer_config.json") from None
    return str(template), Template.tokens_of(config)


def _token(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")
