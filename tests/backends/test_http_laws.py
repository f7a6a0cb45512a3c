"""The HTTP backend keeps the laws of the Model port against each kind of server, with that kind's gaps."""

import asyncio
from collections.abc import Iterator, Mapping, Sized
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.backends.http_upstreams import rich, thoughtful

from mullover.backends.http.doctor import Doctor
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.toy import Toy
from mullover.laws.every_model import ModelLaws
from mullover.laws.upstream import TEMPLATE, Fault, Kind, Upstream, in_background
from mullover.types import Model, Sampling

QUICK = Patience(attempts=3, base=0.01)
BY_TEXT = "the server takes text alone, so what goes on is read from it anew"


def every_other(i: int) -> Fault | None:
    return Fault("status", status=400) if i % 2 else None


def a_choice_too_few(i: int) -> Fault:
    return Fault("status", status=400) if i % 2 else Fault("wrong_n", by=-1)


class Served(ModelLaws):
    """Against one server, as the doctor found it."""

    kind: ClassVar[Kind]
    toy: ClassVar[Any] = staticmethod(rich)
    quiet: ClassVar[Any] = None
    more: ClassVar[str] = ""
    servers: ClassVar[int] = 1
    faults: ClassVar[Any] = staticmethod(every_other)
    huge = 2000

    ups: ClassVar[list[Upstream]]
    broken: ClassVar[Upstream]
    profile: ClassVar[Profile]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        quiet: Toy | None = cls.quiet() if cls.quiet else None
        cls.template = tmp_path_factory.mktemp("template") / "chat.jinja"
        cls.template.write_text(TEMPLATE)
        cls.ups = [Upstream(cls.kind, model=cls.toy(), quiet=quiet) for _ in range(cls.servers)]
        cls.broken = Upstream(cls.kind, model=cls.toy(), faults=cls.faults)
        with ExitStack() as stack:
            for up in (*cls.ups, cls.broken):
                stack.enter_context(in_background(up))
            cls.profile = asyncio.run(_examined(cls.spec(cls.ups[0])))
            yield

    template: ClassVar[Path]

    @classmethod
    def spec(cls, up: Upstream) -> Spec:
        return Spec.parse(f"{up.url}#{up.name}" + cls.more.format(template=cls.template))

    def make(self) -> Model:
        specs = [self.spec(up) for up in self.ups]
        return Http(specs, patience=QUICK, profiles=[self.profile] * len(specs))

    def failing(self) -> tuple[Model, Sampling]:
        return Http([self.spec(self.broken)], patience=QUICK, profiles=[self.profile]), Sampling()

    def dead(self) -> Model:
        spec = Spec.parse(f"{self.ups[0].url}#nobody")
        return Http([spec], patience=QUICK, profiles=[self.profile])

    def left(self, model: Model) -> Sized:
        """Requests that the servers still serve."""
        return range(sum(up.live for up in self.ups))


async def _examined(spec: Spec) -> Profile:
    return await Doctor(spec).examine()


class TestVLLM(Served):
    kind = "vllm"


class TestVLLMThatThinks(Served):
    kind = "vllm"
    exempt: ClassVar[Mapping[str, str]] = {
        "test_a_text_goes_on_from_the_ids_that_were_sampled": "the server's reasoning parser swallows the tags"
    }
    toy = staticmethod(thoughtful)
    quiet = staticmethod(rich)


class TestSGLang(Served):
    kind = "sglang"
    exempt: ClassVar[Mapping[str, str]] = {"test_a_given_segment_with_ids_is_not_read_from_its_text": BY_TEXT}


class TestLlamaCpp(Served):
    kind = "llamacpp"
    exempt: ClassVar[Mapping[str, str]] = {"test_a_given_segment_with_ids_is_not_read_from_its_text": BY_TEXT}


class TestLlamaCppThatThinks(Served):
    kind = "llamacpp"
    toy = staticmethod(thoughtful)
    quiet = staticmethod(rich)
    exempt: ClassVar[Mapping[str, str]] = {"test_a_given_segment_with_ids_is_not_read_from_its_text": BY_TEXT}


class TestLlamaCppByATemplate(Served):
    kind = "llamacpp"
    more = ";template={template}"
    exempt: ClassVar[Mapping[str, str]] = {"test_a_given_segment_with_ids_is_not_read_from_its_text": BY_TEXT}


class TestOllama(Served):
    kind = "ollama"


class TestOllamaThatThinks(Served):
    kind = "ollama"
    toy = staticmethod(thoughtful)
    quiet = staticmethod(rich)


class TestOpenAI(Served):
    kind = "openai"
    faults = staticmethod(a_choice_too_few)


class TestAPoolOfThree(Served):
    kind = "vllm"
    servers = 3


class TestNobodyHasLookedAtIt(Served):
    kind = "vllm"

    def make(self) -> Model:
        return Http([self.spec(up) for up in self.ups], patience=QUICK)
