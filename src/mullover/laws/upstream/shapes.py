"""The JSON of answers: chunks of a stream, and the body of an answer that is not streamed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from mullover.backends.table import END, Table
from mullover.backends.thinking import thought
from mullover.laws.upstream.asked import Asked, Rules
from mullover.laws.upstream.speak import given
from mullover.types import Sample, Token

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of one choice: what becomes visible with it, and whether it is the last."""

    at: int
    reasoning: str
    content: str
    last: bool
    hidden: bool  # reasoning that its kind never sends


class Choice:
    """One sample of a request, in the words of its server."""

    def __init__(self, rules: Rules, asked: Asked, index: int, sample: Sample) -> None:
        self.rules, self.asked, self.index, self.sample = rules, asked, index, sample
        self.think = rules.voice.think
        self.opened = rules.voice.opened(asked.spot)
        self.matched = next((s for s in asked.sampling.stop if s in sample.text), None)
        self.text = self._visible()
        end = thought(sample.text, self.think, self.opened)
        self.thinks = [offset < end for offset in sample.offsets or ()]

    @property
    def finish(self) -> str:
        return "length" if self.sample.finish == "length" else "stop"

    def pieces(self) -> Iterator[Piece]:
        """A stop string that is not to be seen holds back the text that could begin it."""
        starts = [*(self.sample.offsets or ())[1:], len(self.sample.text)]
        stops = self.asked.sampling.stop
        hold = 0 if self.asked.keep_stop or not stops else max(map(len, stops)) - 1
        was_reason, was_content = "", ""
        for at, until in enumerate(starts):
            last = at == len(starts) - 1
            shown = self.text if last else self.text[: max(0, until - hold)]
            reason, content = self.split(shown, last)
            hidden = self.rules.traits.reasoning is None and self.asked.chat and self.thinks[at]
            yield Piece(at, reason[len(was_reason) :], content[len(was_content) :], last, hidden)
            was_reason, was_content = reason, content

    def split(self, text: str, whole: bool) -> tuple[str, str]:
        """Reasoning and content, without delimiters; what may be part of a delimiter waits unless that is all."""
        if not self.asked.chat:
            return "", text
        opener, closer = self.think
        if not self.opened:
            bare = text.lstrip()
            if not whole and opener.startswith(bare) and bare != opener:
                return "", ""
            if not bare.startswith(opener):
                return "", text
            text = bare[len(opener) :]
        reason, closed, content = text.partition(closer)
        if not closed and not whole:
            held = next((k for k in range(len(closer) - 1, 0, -1) if reason.endswith(closer[:k])), 0)
            reason = reason[: len(reason) - held]
        return reason, content

    def _visible(self) -> str:
        text = self.sample.text
        if self.matched is None:
            return text
        at = text.index(self.matched)
        return text[: at + len(self.matched)] if self.asked.keep_stop else text[:at]


class Shape:
    """How one answer is written."""

    def __init__(self, rules: Rules, asked: Asked, name: str) -> None:
        self.rules, self.asked, self.traits = rules, asked, rules.traits
        self.table: Table = rules.voice.table(asked.spot)
        self.stub: Json = {
            "id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid4().hex[:24]}",
            "object": "",
            "created": int(time.time()),
            "model": name,
        }
        if rules.kind in ("openai", "llamacpp", "ollama"):
            self.stub["system_fingerprint"] = "fp_ollama" if rules.kind == "ollama" else rules.traits.version

    # Streams

    def head(self, index: int) -> Iterator[Json]:
        """What a choice of a chat begins with."""
        kind = self.rules.kind
        if not self.asked.chat or kind == "ollama":
            return
        chunk = self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}})
        if kind == "llamacpp":
            chunk["choices"][0]["delta"]["content"] = None
        if self.asked.ids and index == 0:
            chunk["prompt_token_ids"] = list(self.asked.spot.ids)
        yield chunk

    def piece(self, choice: Choice, piece: Piece) -> Iterator[Json]:
        """The chunks of one token."""
        token = choice.sample.ids[piece.at]
        said = piece.content or piece.reasoning
        silent = token == END and not said and self.traits.end is None
        if not piece.hidden and not silent:
            one: Json = {"index": choice.index, **self._said(piece)}
            one["logprobs"] = self._logprobs(choice, [piece.at])
            one["finish_reason"] = None
            if self.asked.ids:
                one["token_ids"] = [token]
                if not self.asked.chat and piece.at == 0:
                    one["prompt_token_ids"] = list(self.asked.spot.ids)
            if piece.last and not self.traits.finish_apart:
                one |= self._ending(choice)
            yield self._chunk(one)
        if piece.last and self.traits.finish_apart:
            nothing: Json = {"delta": {}} if self.asked.chat else {"text": ""}
            if self.asked.chat and self.rules.kind == "ollama":
                nothing = {"delta": {"role": "assistant", "content": ""}}
            chunk = self._chunk({"index": choice.index, **nothing, "logprobs": None, **self._ending(choice)})
            if self.rules.kind == "llamacpp" and not self.asked.usage:
                chunk["timings"] = self.timings([choice])
            yield chunk

    def tail(self, choices: Sequence[Choice]) -> Iterator[Json]:
        """The chunk that has no choices, if usage is wanted."""
        if self.asked.usage:
            chunk = {**self._chunk(None), "usage": self.usage(choices)}
            if self.rules.kind == "llamacpp":
                chunk["timings"] = self.timings(choices)
            yield chunk

    def _chunk(self, choice: Json | None) -> Json:
        name = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return {**self.stub, "object": name, "choices": [] if choice is None else [choice]}

    def _said(self, piece: Piece) -> Json:
        if not self.asked.chat:
            return {"text": piece.content}
        field = self.traits.reasoning
        delta: Json = {"role": "assistant"} if self.rules.kind == "ollama" else {}
        if field and piece.reasoning:
            delta[field] = piece.reasoning
        if piece.content or not piece.reasoning or self.rules.kind == "ollama":
            delta["content"] = piece.content
        return {"delta": delta}

    def _ending(self, choice: Choice) -> Json:
        ending: Json = {"finish_reason": choice.finish}
        if self.traits.named_stop:
            ending[self.traits.named_stop] = choice.matched
            if self.rules.kind == "sglang" and choice.matched is None and choice.sample.finish == "eos":
                ending["matched_stop"] = END
        return ending

    # Bodies

    def body(self, choices: Sequence[Choice]) -> Json:
        name = "chat.completion" if self.asked.chat else "text_completion"
        body = {**self.stub, "object": name, "choices": [self._choice(choice) for choice in choices]}
        body["usage"] = self.usage(choices)
        if self.rules.kind == "llamacpp":
            body["timings"] = self.timings(choices)
        if self.asked.chat and self.traits.tokens:
            body["prompt_token_ids"] = list(self.asked.spot.ids) if self.asked.ids else None
            body["prompt_logprobs"] = self._prompt_logprobs()
        return body

    def _choice(self, choice: Choice) -> Json:
        asked, one = self.asked, Json(index=choice.index)
        reason, content = choice.split(choice.text, True)
        if asked.chat:
            one["message"] = message = Json(role="assistant", content=content)
            if self.traits.reasoning and (reason or self.rules.kind in ("vllm", "sglang")):
                message[self.traits.reasoning] = reason or None
                message["content"] = content or (None if reason else "")
        else:
            one["text"] = self._echoed() + content if asked.echo else content
        kept = [at for at in range(len(choice.sample.ids)) if self.traits.reasoning or not choice.thinks[at]]
        one["logprobs"] = self._logprobs(choice, kept)
        one |= self._ending(choice)
        if asked.ids:
            one["token_ids"] = list(choice.sample.ids)
        if not asked.chat and self.traits.tokens:
            one["prompt_token_ids"] = list(asked.spot.ids) if asked.ids else None
            one["prompt_logprobs"] = self._prompt_logprobs()
        return one

    # Numbers

    def usage(self, choices: Sequence[Choice]) -> Json:
        """The prompt counts once, however many choices it has."""
        prompt, new = self.asked.spot.words, sum(len(choice.sample.ids) for choice in choices)
        usage: Json = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
        thoughts = sum(sum(choice.thinks) for choice in choices)
        if self.traits.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": 0}
        if self.rules.kind == "sglang":
            usage |= {"prompt_tokens_details": None, "reasoning_tokens": thoughts}
        if self.rules.kind in ("vllm", "openai"):
            usage["completion_tokens_details"] = {"reasoning_tokens": thoughts}
        return usage

    def timings(self, choices: Sequence[Choice]) -> Json:
        new = sum(len(choice.sample.ids) for choice in choices)
        return {
            "prompt_n": self.asked.spot.words,
            "prompt_ms": 1.0,
            "predicted_n": new,
            "predicted_ms": 1.0,
            "cache_n": 0,
        }

    def _logprobs(self, choice: Choice, places: Sequence[int]) -> Json | None:
        if not self.asked.logprobs:
            return None
        ids, numbers, tops = choice.sample.ids, choice.sample.logprobs or (), choice.sample.alternatives
        rows: list[tuple[Token, list[Token]]] = []
        for at in places:
            if ids[at] != END or self.traits.end is not None:
                text = self.table.texts[ids[at]]
                rows.append((Token(ids[at], text, numbers[at]), list(tops[at]) if tops else []))
        if self.asked.chat or self.rules.kind == "llamacpp":
            return {"content": [{**self._entry(t), "top_logprobs": [self._entry(o) for o in top]} for t, top in rows]}
        return self._columns(rows, choice.sample.offsets or (), places)

    def _columns(self, rows: list[tuple[Token, list[Token]]], offsets: Sequence[int], places: Sequence[int]) -> Json:
        """Log-probabilities as /v1/completions has them."""
        columns: Json = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
        start = 0
        if self.asked.echo:
            start = len(self._echoed())
            self._echo_columns(columns)
        for (token, top), at in zip(rows, places, strict=False):
            columns["text_offset"].append(start + offsets[at])
            columns["token_logprobs"].append(token.logprob)
            columns["tokens"].append(self._name(token.id, token.text))
            columns["top_logprobs"].append({self._name(o.id, o.text): o.logprob for o in (top or [token])})
        return columns

    def _echo_columns(self, columns: Json) -> None:
        at, ids = 0, self.asked.spot.ids
        for i, row in zip(ids, given(self.rules.voice, self.asked.spot, self.asked.sampling.top_logprobs), strict=True):
            text = self.rules.voice.text_of(self.table, i)
            columns["text_offset"].append(at)
            columns["tokens"].append(self._name(i, text))
            columns["token_logprobs"].append(None if row is None else row[i])
            named = None if row is None else {self._name(j, self._text(j)): p for j, p in row.items()}
            columns["top_logprobs"].append(named)
            at += len(text)

    def _prompt_logprobs(self) -> list[Json | None] | None:
        if self.asked.prompt_logprobs is None:
            return None
        rows = given(self.rules.voice, self.asked.spot, self.asked.prompt_logprobs)
        return [None if row is None else {str(i): self._ranked(i, row) for i in row} for row in rows]

    def _ranked(self, i: int, row: Mapping[int, float]) -> Json:
        """Its rank is that among what is listed."""
        rank = 1 + sum(p > row[i] for p in row.values())
        return {"logprob": row[i], "rank": rank, "decoded_token": self._text(i)}

    def _entry(self, token: Token) -> Json:
        text = self._name(token.id, token.text)
        entry: Json = {"token": text, "logprob": token.logprob, "bytes": list(text.encode())}
        return {"id": token.id, **entry} if self.rules.kind == "llamacpp" else entry

    def _name(self, i: int, text: str) -> str:
        if self.asked.id_tokens:
            return f"token_id:{i}"
        return self.traits.end or "" if i == END else text

    def _text(self, i: int) -> str:
        return (self.traits.end or "") if i == END else self.rules.voice.text_of(self.table, i)

    def _echoed(self) -> str:
        return "".join([self.rules.voice.text_of(self.table, i) for i in self.asked.spot.ids])
