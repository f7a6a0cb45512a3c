"""Each file in strategies/ keeps the laws. A new one is tested here with no edit."""

from mullover.laws.every_strategy import StrategyLaws
from mullover.strategies import names

for name in names():
    case = f"Test_{name}"
    globals()[case] = type(case, (StrategyLaws,), {"strategy": name})
