"""`mull bench engine`: the cases by name, each on its model."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import transformers

from mullover.bench.cases import many_problems, one_prompt, search_tree
from mullover.bench.models import Bed, M, S, build, device, load
from mullover.bench.rows import Row, Tell
from mullover.engine.memory import keep_freed

Case = Callable[[Bed, str, int, Tell], list[Row]]


def samples(n: int, than: int = 0) -> Case:
    return lambda bed, case, repeats, tell: one_prompt(bed, case, n, repeats, tell, than=than)


RANDOM: dict[str, tuple[str, Case]] = {
    "one-prompt-64": ("S", samples(64)),
    "one-prompt-256": ("S", samples(256, than=64)),
    "many-problems": ("S", many_problems),
    "search-tree": ("S", search_tree),
    "one-stream": ("S", samples(1)),
    "m-one-prompt-16": ("M", samples(16)),
    "m-one-stream": ("M", samples(1)),
}
OWN: dict[str, Case] = {"one-stream": samples(1), "one-prompt-16": samples(16), "one-prompt-64": samples(64)}


def bench(
    names: Sequence[str], repeats: int, tell: Tell, folder: str | None = None, done: Callable[[list[Row]], object] = len
) -> list[Row]:
    """Rows of these cases: of the models S and M, or of a directory's.

    Args:
        done: called with the rows of each case, when there are all.
    """
    told: Any = transformers.logging  # it is not typed
    told.set_verbosity_error()
    told.disable_progress_bar()
    if device().type == "cpu":
        keep_freed()  # as the engine has it; transformers gains from it too
    own = load(folder) if folder is not None else None
    bed = cache(lambda name: build({"S": S, "M": M}[name]))
    rows = list[Row]()
    for name in names:
        if own is not None:
            found = OWN[name](own, name, repeats, tell)
        else:
            model, case = RANDOM[name]
            found = case(bed(model), name, repeats, tell)
        done(found)
        rows += found
    return rows
