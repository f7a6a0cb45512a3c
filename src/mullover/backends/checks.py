"""What every backend refuses before it asks anything, each by name."""

import math
from collections.abc import Sequence

from mullover.errors import CapabilityError, OptionError
from mullover.types import Force, ModelInfo, Prompt, Rule, Sampling


def seeds_of(info: ModelInfo, prompt: Prompt, n: int, sampling: Sampling) -> Sequence[int]:
    """One seed per sample, once the request is known to be one that `info` can obey in full.

    Raises:
        CapabilityError: the model cannot do what is asked.
        OptionError: n below 1, seeds for another number of samples, an empty stop string, a rule
            whose bias is no number or whose count of tokens is below 0, a forced text that is empty,
            or a halt whose window holds no token.
    """
    if n < 1:
        raise OptionError(f"n is {n}; ask for at least 1 sample")
    if len(sampling.seeds) not in (0, n):
        raise OptionError(f"{len(sampling.seeds)} seeds for {n} samples; give one each, or none")
    check_prompt(info, prompt)
    info.check(prompt, sampling)
    if "" in sampling.stop:
        raise OptionError("an empty stop string would stop everything; leave it out")
    for rule in sampling.rules:
        _check_rule(rule)
    if sampling.halt is not None and sampling.halt.window < 1:
        raise OptionError(f"the halt's window is {sampling.halt.window}; it must be at least 1 token")
    return sampling.seeds or range(n)


def _check_rule(rule: Rule | Force) -> None:
    if isinstance(rule, Force):
        if not rule.text:
            raise OptionError("a forced text is empty; give it a text, or leave it out")
        if rule.at < 0:
            raise OptionError(f"the forced text {rule.text!r} is at {rule.at}; use 0 for at once or a positive number")
        return
    if math.isnan(rule.bias) or rule.bias == math.inf:
        raise OptionError(f"the rule for {rule.text!r} has bias {rule.bias}; use a number, or -inf to forbid")
    for name, tokens, none in (("window", rule.window, "all of a thought"), ("before", rule.before, "no limit")):
        if tokens < 0:
            raise OptionError(f"the rule for {rule.text!r} has {name} {tokens}; use 0 for {none} or a positive number")


def check_prompt(info: ModelInfo, prompt: Prompt) -> None:
    """Several user turns need a model that tells them apart."""
    messages = prompt.messages
    if len(messages) > 1 and "turns" not in info.can and sum(m.role == "user" for m in messages) > 1:
        raise CapabilityError(f"{info.name} cannot do turns: it answers one user turn; take a model that can")
