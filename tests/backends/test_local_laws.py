"""The laws of the Model port, held by a small model of the local engine."""

from collections.abc import Sized

import pytest

pytest.importorskip("torch")

from tests.backends.local_models import small

from mullover.backends.local.local import Local
from mullover.laws.every_model import ModelLaws
from mullover.types import Model, Sampling


class Engined(ModelLaws):
    sampling = Sampling(max_tokens=24)
    huge = 2_000
    tolerance = 1e-4
    kind = "plain"

    def make(self) -> Model:
        return Local(small(self.kind))

    def left(self, model: Model) -> Sized:
        assert isinstance(model, Local)
        scheduler = model.service.engine.scheduler
        return [*scheduler.live, *scheduler.requests, *scheduler.put_off]


class TestLocal(Engined):
    pass


class TestThinkingLocal(Engined):
    kind = "thinking"


del Engined
