"""Laws that every backend, strategy and scorer keeps, ours and yours, as classes of tests. They need pytest.

Subclass one in a test module, and pytest does the rest:

    from mullover.laws.every_model import ModelLaws

    class TestMine(ModelLaws):
        def make(self):
            return Mine()
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.every_{what}" for what in ("model", "rule", "strategy", "scorer")))
