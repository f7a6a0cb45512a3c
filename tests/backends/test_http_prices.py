"""What tokens cost, and budgets in money."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.backends.http_upstreams import rich

from mullover.backends.http import prices
from mullover.backends.http.http import Http
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.errors import OptionError
from mullover.laws.upstream import Upstream
from mullover.running import Budget, Run, run
from mullover.strategies.self_consistency import self_consistency
from mullover.types import Price, Prompt

SPEC = Spec.parse("http://a:8000/v1#qwen")
PROMPT = Prompt.of("why?")


# Prices

TOML = '["http://a:8000/v1"."qwen"]\nprompt = 2\ncompletion = 6\n'


@pytest.fixture
def priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Price | None]:
    def price(text: str, *specs: str) -> Price | None:
        (tmp_path / "prices.toml").write_text(text)
        monkeypatch.setenv("MULLOVER_PRICES", str(tmp_path / "prices.toml"))
        return prices.price_of([Spec.parse(spec) for spec in specs] or [SPEC])

    return price


def test_a_price_is_for_one_token_or_for_as_many_as_are_named(priced: Any) -> None:
    assert priced(TOML) == Price(2, 2, 6)
    assert priced("per = 1_000_000\n" + TOML + "cached = 1") == Price(2e-6, 1e-6, 6e-6)
    assert priced(TOML, "http://a:8000/v1#other") is None
    assert priced(TOML, "http://b:8000/v1#qwen") is None
    assert priced(TOML.replace("/v1", "/v1/")) == Price(2, 2, 6)
    assert priced("") is None


def test_without_a_file_there_is_no_price_but_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prices.price_of([SPEC]) is None
    prices.path().parent.mkdir(parents=True, exist_ok=True)
    prices.path().write_text(TOML)
    assert prices.price_of([SPEC]) == Price(2, 2, 6)
    monkeypatch.setenv("MULLOVER_PRICES", "/no/such.toml")
    with pytest.raises(OptionError, match=r"MULLOVER_PRICES names /no/such\.toml"):
        prices.price_of([SPEC])


@pytest.mark.parametrize(
    "text",
    [
        "[", "\x00", '["http://a:8000/v1"]\nqwen = 5', '["http://a:8000/v1".qwen]\nprompt = 1',
        TOML + 'cached = "1"', TOML + "cached = -1", TOML + "cached = nan", TOML + "cached = inf", TOML + "hint = 1",
        TOML + "cached = true", 'per = "x"\n' + TOML, "per = 0\n" + TOML, "per = -1\n" + TOML,
        '"http://a:8000/v1" = 5',
    ],
)  # fmt: skip
def test_what_is_no_table_of_prices_is_one_clear_error(priced: Any, text: str) -> None:
    with pytest.raises(OptionError, match=r"prices\.toml"):
        priced(text)


def test_a_pool_costs_one_price(priced: Any) -> None:
    both = ("http://a:8000/v1#qwen", "http://b:8000/v1#qwen")
    assert priced(TOML + TOML.replace("//a", "//b"), *both) == Price(2, 2, 6)
    with pytest.raises(OptionError, match="a pool needs one price"):
        priced(TOML, *both)
    with pytest.raises(OptionError, match="a pool needs one price"):
        priced(TOML + TOML.replace("//a", "//b").replace("2", "3"), *both)


def spent(budget: Budget = Budget(), n: int = 12) -> tuple[Run, Upstream]:
    async def main() -> tuple[Run, Upstream]:
        async with Upstream(model=rich()) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], price=Price(0.25, 0.1, 0.5), profiles=[Profile(seeds=True)])
            sampling = {"max_tokens": 8}
            return await run(self_consistency, model, PROMPT, n=n, sampling=sampling, budget=budget), up

    return asyncio.run(main())


def test_money_is_what_the_servers_tokens_cost() -> None:
    found, up = spent()
    assert found.total.money == pytest.approx(Price(0.25, 0.1, 0.5).of(found.total))
    assert found.total.prompt_tokens + found.total.cached_tokens == up.usage.prompt_tokens
    assert found.total.completion_tokens == up.usage.completion_tokens
    assert found.total.money > 12


def test_a_budget_of_money_is_hard() -> None:
    for money in (0.0, 0.1, 7.0, 20.0):
        found, _ = spent(Budget(money=money))
        assert found.total.money <= money * (1 + 1e-9)
        assert not found.answer.complete
    found, _ = spent(Budget(money=1000.0))
    assert found.answer.complete
