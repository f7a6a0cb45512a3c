"""Llama without transformers: the same weights, and only where nothing unusual is asked."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.backends.local_models import save

from mullover.backends.local.folder import Folder
from mullover.engine import plain
from mullover.engine.fused import Fused

USUAL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}


def test_the_usual_llama_fits() -> None:
    assert plain.fits(USUAL)
    assert plain.fits({**USUAL, "num_key_value_heads": None, "rope_parameters": {"rope_theta": 5e5}})
    assert plain.fits({**USUAL, "num_key_value_heads": 2, "head_dim": 16, "rope_scaling": None})


@pytest.mark.parametrize(
    "unusual",
    [
        {"model_type": "qwen2"},
        {"attention_bias": True},
        {"tie_word_embeddings": True},
        {"hidden_act": "gelu"},
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
        {"quantization_config": {"bits": 4}},
        {"num_key_value_heads": 3},
        {"num_key_value_heads": -1},
        {"num_key_value_heads": "2"},
        {"head_dim": 7},
        {"rms_norm_eps": "tiny"},
        {"rope_theta": "big"},
        {"hidden_size": None},
    ],
)
def test_what_is_unusual_is_left_to_transformers(unusual: dict[str, Any]) -> None:
    assert not plain.fits({**USUAL, **unusual})


def test_rotation_is_that_of_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(**{**USUAL, "rope_theta": 5e5})
    positions, like = torch.arange(64).unsqueeze(0), torch.zeros(1)
    for mine, theirs in zip(
        plain.Rotation(8, 5e5)(like, positions), LlamaRotaryEmbedding(config)(like, positions), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_weights_that_are_missing_or_of_another_shape_are_named() -> None:
    model = plain.PlainLlama(USUAL, torch.float32)
    weights = {name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}
    weights["lm_head.weight"] = torch.zeros(3, 3)
    del weights["model.norm.weight"]
    assert model.take(weights) == (["model.norm.weight"], ["lm_head.weight"])
    assert Fused.fits(model)


def test_a_llama_opens_without_transformers_and_says_the_same(tmp_path: Path) -> None:
    save(tmp_path / "model")
    assert plain.fits(Folder.read(tmp_path / "model").config)
    code = (
        "import asyncio, sys\n"
        "from mullover.openers import open_model\n"
        "from mullover.types import Prompt, Sampling\n"
        "from mullover.engine import plain\n"
        "if sys.argv[2] == 'theirs': plain.fits = lambda _: False\n"
        "model = open_model(sys.argv[1])\n"
        "(one,) = asyncio.run(model.sample(Prompt.of('who was it'), 1, Sampling(temperature=0, max_tokens=20)))\n"
        "print(one.ids, 'transformers' in sys.modules)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "model"), who], capture_output=True, text=True, check=True
        ).stdout.rsplit(" ", 1)
        for who in ("ours", "theirs")
    ]
    assert said[0][0] == said[1][0]
    assert [loaded.strip() for _, loaded in said] == ["False", "True"]
