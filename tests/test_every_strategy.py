"""Each file in strategies/ keeps the laws, and is documented. A new one is tested here with no edit."""

import pytest

from mullover.laws.every_strategy import StrategyLaws
from mullover.strategies import docs, load, names, parameters

for name in names():
    case = f"Test_{name}"
    globals()[case] = type(case, (StrategyLaws,), {"strategy": name})


@pytest.mark.parametrize("name", names())
def test_its_docstring_tells_every_option_what_it_yields_and_its_source(name: str) -> None:
    told = docs(load(name))
    assert told.yields
    assert "arXiv:" in told.source
    assert set(parameters(load(name))) == set(told.options)
