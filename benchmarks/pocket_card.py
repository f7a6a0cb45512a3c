"""The card of the pocket model, from the files that `pocket.py` wrote.

python benchmarks/pocket_card.py MODEL_DIR OUT_DIR
"""

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mullover.evaluate.metrics import wilson
from mullover.tasks.school import FAMILIES, GRADES
from mullover.train import exam

COLUMNS = (
    "cell", "problems", "direct", "plain", "greedy chain", "sample", "majority 16", "pass 16", "guessing 16",
    "shortcut", "majority less greedy", "tokens a chain",
)  # fmt: skip
HEAD = """# The pocket model

A language model of {weights:,} weights in the Llama architecture ({layers} layers, width {width}, {vocab}
tokens, context {context}), trained from nothing on the generated problems of `mullover.tasks.school` by
`recipes/pocket.toml`: {steps:,} steps, {tokens:.1f} million tokens, {minutes:.0f} minutes on {machine}, which had
other work to do at times, {date}. What is asked weighs a tenth of what is said in the loss. No text of people is in its
training but the sentences of the generators. It is there so that methods can be tried, tested and compared on any
machine: in most families it answers directly and is mostly wrong, it reasons and is partly right, its samples
disagree.

It writes `<|user|>question<|end|><|assistant|>answer<|end|>`; `enable_thinking` opens or closes `<think>`.
Digits are tokens of their own. It knows nothing about the world and follows no instruction but those of its
lessons.
"""
LEGEND = """\
Per cent, with 95 % intervals. Bold are the middle grades: the lowest above 1 with at most 75 % by greedy chains on
100 problems of dev, or 5 where there is none. For these weights they were fixed in `card/cells.json` before anything
was measured on test, and are the cells of all later comparisons; `state` there says which are solved or not learned,
by dev, so that nothing can be compared on them. Earlier weights were measured on test while the families were still
being changed, and some changes came of what was seen there, such as how many values circuits ask for. Middle grades
have 400 problems, others 100, or as many as there are.

Direct: the style `direct`, greedy; plain: the bare question, greedy; sample: the mean of 16 samples at temperature
0.8 in the style `step_by_step`; majority and pass: of those 16. Guessing 16: the chance that one of 16 independent
blind guesses is right, where a guess is any number in range (sums, story), the commonest answer (circuits,
letter_count, letters of last_letters), one of five (swaps), one who is named as often as the one asked for (order),
or blind joins until the target is there (countdown, make). Where fewer than 16 answers are possible (order, swaps,
letter_count, circuits up to three values), 16 different guesses would always hit: there a pass says nothing.
Shortcut: how often a rule is right that works nothing out. In swaps it says what the last partner of the one asked for
had at first. In open it puts any words between the wished ones until the length fits: the rubric checks each wish, a
capital and a full stop, and no grammar; no chance of a guess was worked out there.
Intervals of sample and of differences are by a bootstrap of problems, others Wilson's. A vote takes expressions of
equal value for different answers, and says nothing about sentences.
"""
GRADES_HEAD = "## All grades (60 problems of test each, sums 1 has 33; greedy, per cent: give or take 13)\n"
SKILLS_HEAD = """## Skills (grade 2, 60 problems of test each, greedy, per cent: give or take 13)

In parentheses: what always saying the commonest of the right answers would get, or for `choose`, if that is more,
always taking the option that is most like the others. Cells that are not surely above it (Wilson, 95 %) are in
italics: there the skill is not shown. Right means: the right answer; for `critique` the first
wrong step or that there is none; for `judge` yes or no; for `choose` the letter; for `propose` the very next step,
where others may be as good; for `step_back` the principle, which is one sentence a family, or the answer.
"""
LECTURE_HEAD = """\
A vote over 16 chains, seeds 0 to 9: how many of 10. No story of training is about apples, and "artificial",
"intelligence" and "strawberry" are never spelled there. The first wording of each pair is, word for word or nearly, a
template of training with another noun or other words; of the second ones that about apples is far from all, the
others differ from a template by a few words.
"""
DECODING_HEAD = """\
100 problems of the middle grade each; the ten likeliest first tokens are followed greedily (Wang and Zhou 2024,
arXiv:2402.10200). Confidence: the mean gap between the two likeliest tokens over the answer.
"""
TAIL_HEAD = "## What it cannot do\n"
TAIL = """\
Anything outside the ten families, and questions in words that are far from those of its lessons. Cells in which a
greedy chain is no better than a blind guess, by its interval: {unlearned}. Cells in which it is no better than a
shortcut: {short}. Cells in which it is no better than a direct answer: {worse}. Skills that stay at chance in every
family: {unskilled}. What depends on such a cell or skill cannot be tried on this model. Where 16 guesses are nearly
sure to hit (the column of guessing), that one of 16 samples is right says nothing. Easy grades of some families have
few problems, and what is asked in sums 1, make 1 and countdown 1 stands as a step in longer problems of training; the
same swaps of other things are another problem. Of grades 2 to 4 only the middle one has figures of votes and passes.
Marks of turns in a question (`<|end|>`, `<|assistant|>`) are read as such, as transformers reads them.
"""


def results(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text())["results"]


def per_cent(value: float) -> str:
    return f"{100 * value:.0f}"


def card(out: Path) -> str:
    """The whole card: every figure from a file of `out`."""
    run = json.loads((out / "run.json").read_text())
    facts = {**run["results"], "machine": run["machine"], "date": run["date"]}
    chosen, cells_, skill = results(out, "cells"), results(out, "measure"), results(out, "skills")
    date, machine = (json.loads((out / "measure.json").read_text())[name] for name in ("date", "machine"))
    lines = [
        filled(HEAD.format(**facts)),
        "",
        f"## Accuracy on problems it never saw (test, {machine}, {date})\n",
        LEGEND,
    ]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    order = [*FAMILIES]
    for cell in sorted(cells_, key=lambda cell: (order.index(cell.split("/")[1]), cell)):
        m, (_, family, grade) = cells_[cell], cell.split("/")
        gap = "majority less greedy"
        bold = "**" if int(grade) == chosen[family]["middle"] else ""
        shown = [
            f"{bold}{family} {grade}{bold}", str(m["problems"]),
            *(share(m, name) for name in ("direct", "plain", "greedy")), ranged(m["sample"]),
            *(share(m, name) if name in m else "" for name in ("majority", "pass")), per_cent(m["guess pass"]),
            per_cent(m["shortcut"]) if m["shortcut"] else "", ranged(m[gap], "+.1f") if gap in m else "",
            f"{m['tokens a chain']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(shown)} |")
    lines += ["", GRADES_HEAD, "| family | direct 1 to 5 | step by step 1 to 5 |", "|---|---|---|"]
    for family in FAMILIES:
        shown = [" ".join(per_cent(_share(skill[f"{s}/{family}/{g}"])) for g in GRADES) for s in exam.WHOLE]
        lines.append(f"| {family} | {shown[0]} | {shown[1]} |")
    lines += ["", SKILLS_HEAD, "| skill | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    for name in dict.fromkeys(key.split("/")[0] for key in skill):
        if name not in exam.WHOLE:
            row = " | ".join(_skill(skill[f"{name}/{family}/{exam.MIDDLE}"]) for family in FAMILIES)
            lines.append(f"| {name} | {row} |")
    lines += ["", "## The lecture's questions\n", LECTURE_HEAD]
    lines += ["| question | at 0.8 | at 0.7 | one greedy chain says | asked directly it says |", "|---" * 5 + "|"]
    for q, r in results(out, "lecture").items():
        right = r["right of 10 seeds"]
        lines.append(f"| {q} | {right['0.8']} | {right['0.7']} | {r['chain']} | {r['directly']} |")
    lines += ["", "## First tokens of plain questions\n", DECODING_HEAD]
    names = list(next(iter(results(out, "decoding").values())))
    lines += ["| family | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for family, row in results(out, "decoding").items():
        lines.append(f"| {family} | " + " | ".join(f"{row[name]:.2f}" for name in names) + " |")
    unlearned = [cell.removeprefix("school/") for cell, m in cells_.items() if not above_a_guess(m)]
    worse = [cell.removeprefix("school/") for cell, m in cells_.items() if m["greedy"] <= m["direct"]]
    short = [cell.removeprefix("school/") for cell, m in cells_.items() if m["shortcut"] >= interval(m, "greedy")[0]]
    names = [name for name in dict.fromkeys(key.split("/")[0] for key in skill) if name not in exam.WHOLE]
    unskilled = [s for s in names if not any(_shown(skill[f"{s}/{family}/{exam.MIDDLE}"]) for family in FAMILIES)]
    found = {"unlearned": unlearned, "short": short, "worse": worse, "unskilled": unskilled}
    tail = TAIL.format(**{name: ", ".join(some) or "none" for name, some in found.items()})
    return "\n".join([*lines, "", TAIL_HEAD, filled(tail), ""])


def filled(text: str) -> str:
    """Its paragraphs in lines of one length, whatever was put in."""
    return "\n\n".join(textwrap.fill(part, 118, break_on_hyphens=False) for part in text.split("\n\n"))


def ranged(values: Sequence[float], form: str = ".0f") -> str:
    """A mean with its interval, in per cent."""
    mean, low, high = (format(100 * value, form) for value in values)
    return f"{mean} ({low} to {high})"


def share(m: Mapping[str, Any], name: str) -> str:
    """That of one of the greedy or voted columns, with its interval."""
    return ranged((m[name], *interval(m, name)))


def interval(m: Mapping[str, Any], name: str) -> tuple[float, float]:
    """95 %, of a share of the problems."""
    return wilson(round(m[name] * m["problems"]), m["problems"])


def _share(found: Mapping[str, Any]) -> float:
    return float(found["right"] / max(1, found["asked"]))


def _skill(found: Mapping[str, Any]) -> str:
    """A share and what needs no skill; in italics if it is not surely higher."""
    text = f"{per_cent(_share(found))} ({per_cent(found['blind'])})"
    return text if _shown(found) else f"*{text}*"


def _shown(found: Mapping[str, Any]) -> bool:
    """Surely better than without the skill."""
    return bool(wilson(found["right"], found["asked"])[0] > found["blind"])


def above_a_guess(m: Mapping[str, Any]) -> bool:
    """Surely, by the interval of the greedy chain."""
    return bool(interval(m, "greedy")[0] > m["guess"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    (Path(sys.argv[1]) / "CARD.md").write_text(card(Path(sys.argv[2])))
