"""Every gold answer of the shared benchmarks, rewritten and put into a sentence, is found and equal to itself.

The rewriting is done here on strings and with `fractions`, by code that shares nothing with the package.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest

from mullover.answers import equal, find, key
from mullover.types import AnswerSpec

Gold = tuple[AnswerSpec, str]
Golds = Callable[[str], list[Gold]]

SETS = (
    *("gsm8k", "gsm_hard", "svamp", "multiarith", "math", "math500", "minerva_math", "olympiadbench", "contests"),
    *("aqua", "bbh", "date_understanding", "strategyqa", "coin_flip", "last_letters"),
)
SENTENCES = (
    "ANSWER: {}",
    "Step 1: note that 3 + 4 = 7.\nStep 2: I am done.\n\nANSWER: {}\n",
    "<answer>{}</answer>",
    "First 12, then 15.\n<answer>\n{}\n</answer>\nThat was 99 words.",
    "She first has 3, then 5.\n#### {}",
    "The answer is {}.",
    "So we get 17 of them. The answer is {}",
    "Since 2 is prime, the final answer is {}.\n",
    "Therefore, the answer is **{}**.",
    "Final answer: {}",
    "**Answer:** {}",
    "**Final Answer:** {}\n",
    "## Final Answer\n\n{}",
    "answer = {}",
    "We had 1, 2 and 3. The correct answer is: {}",
    "THE ANSWER IS {}.",
    "The answer is 0.\nWait, that is wrong. The answer is {}.",
)
MATH_SENTENCES = (
    r"So the final answer is $\boxed{{{}}}$.",
    r"\boxed{{{}}}",
    "Hence\n\\[\n\\boxed{{{}}}\n\\]\nas 1 + 1 = 2.",
    r"The answer is \boxed{{{}}} units, because 7 is odd.",
    r"The answer is $\fbox{{{}}}$",
    r"the answer is \({}\).",
    "The answer is ${}$.",
    "The answer is:\n\n$${}$$\n",
    "The answer is:\n\\[\n{}\n\\]\n",
    "**Answer:** ${}$",
)


def exact(gold: str) -> Fraction | None:
    """The rational number that a gold answer is, by this file's own reading; None for anything else."""
    text = gold.replace(",\\!", "").replace("{,}", "").replace("\\!", "").replace("$", "").strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        text = text.replace(",", "")
    text = re.sub(r"^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$", r"\1\2/\3", text)
    return Fraction(text) if re.fullmatch(r"-?(\d+(\.\d+)?|\.\d+|\d+/\d+)", text) else None


def finite(q: Fraction) -> str | None:
    """q as a decimal if it has a short one."""
    for digits in range(1, 8):
        if (q * 10**digits).denominator == 1:
            scaled = abs(q * 10**digits).numerator
            text = str(scaled).rjust(digits + 1, "0")
            return ("-" if q < 0 else "") + text[:-digits] + "." + text[-digits:]
    return None


def number_rewrites(q: Fraction) -> Iterator[str]:
    sign, top, bottom = "-" if q < 0 else "", abs(q).numerator, q.denominator
    if bottom == 1:
        yield from (f"{sign}{top:,}", f"{sign}{top}.0", f"{sign}{top}.00", f"{sign}0{top}", f"{sign}{2 * top}/2")
        yield from (
            f"{sign}{top} dollars",
            f"{sign}{top} cm",
            f"{sign}{top} apples",
            f"{sign}{top}\\text{{ km}}",
            f"{sign}{top}\\,\\mathrm{{m}}",
        )
        yield from (
            f"{sign}${top}",
            f"{sign}\\${top}",
            f"{sign}{top}\\%",
            f"{sign}{top}%",
            f"{sign}{top}^\\circ",
            f"{sign}{top}^{{\\circ}}",
        )
        yield from (
            f"{sign}\\frac{{{2 * top}}}{{2}}",
            f"\\text{{{sign}{top}}}",
            f"{sign} {top}",
            f"x = {sign}{top}",
            f"x={sign}{top}",
            f"{sign}{top}.",
        )
        yield from (f"{sign}{top}" + "\\", f"{sign}{top:,}".replace(",", "{,}"), f"{sign}{top:,}".replace(",", "\\,"))[
            1:
        ]
        yield from (
            f"{sign}{top:,}".replace(",", ",\\!"),
            f"{sign}{top:,}".replace(",", "\u202f"),
            f"{sign}{top} \\text{{ square units}}",
        )
        if not sign:
            yield f"+{top}"
            yield f"{top} per hour"
        else:
            yield f"\u2212{top}"
        if top and top % 100 == 0:
            zeros = len(str(top)) - len(str(top).rstrip("0"))
            yield f"{sign}{top // 10**zeros} \\times 10^{{{zeros}}}"
            yield f"{sign}{top // 10**zeros}e{zeros}"
        return
    yield from (
        f"{sign}{top}/{bottom}",
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}\\dfrac{{{top}}}{{{bottom}}}",
        f"{sign}\\tfrac{{{top}}}{{{bottom}}}",
    )
    yield from (
        f"\\frac{{{sign}{top}}}{{{bottom}}}",
        f"{sign}\\frac{{{3 * top}}}{{{3 * bottom}}}",
        f"{sign}\\frac {{{top}}} {{{bottom}}}",
        f"{sign} \\frac{{{top}}}{{{bottom}}}",
    )
    yield from (
        f"{sign}{top} / {bottom}",
        f"x = {sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}\\frac{{{top}}}{{{bottom}}}\\text{{ cm}}",
        f"{sign}{top}/{bottom} inches",
    )
    if top < 10 and bottom < 10:
        yield f"{sign}\\frac{top}{bottom}"
    if top > bottom and not sign:
        yield from (f"{top // bottom} {top % bottom}/{bottom}", f"{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}")
    if decimal := finite(q):
        yield from (
            decimal,
            decimal + "0",
            decimal + "00",
            decimal.replace("0.", ".", 1) if decimal.startswith("0.") else decimal,
            f"{sign}${decimal.lstrip('-')}",
        )


def math_rewrites(gold: str) -> Iterator[str]:
    """The same mathematics typed differently."""
    yield (
        gold.replace("\\frac", "\\dfrac")
        if "\\dfrac" not in gold and "\\cfrac" not in gold
        else gold.replace("\\dfrac", "\\frac")
    )
    yield gold.replace("\\dfrac", "\\tfrac").replace("\\tfrac", "\\frac")
    if "\\text" not in gold and "\\mbox" not in gold:
        yield re.sub(r"(?<![A-Za-z,\\]) (?![A-Za-z])", "", gold)
        yield re.sub(r"(?<=[\w})])([-+=<>])(?=[\w\\({])", r" \1 ", gold) if "e-" not in gold else gold
    if "\\left" in gold:
        yield gold.replace("\\left", "").replace("\\right", "")
    elif re.fullmatch(r"[(\[][^()\[\]]*[)\]]", gold):
        yield f"\\left{gold[:-1]}\\right{gold[-1]}"
    yield re.sub(r"(?<=\d)(?=\\(?:sqrt|pi)\b)", r"\\cdot ", gold)
    yield re.sub(r"(?<=\d) ?(?=\\(?:sqrt|pi)\b)", r" \\, ", gold)
    yield re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", gold)
    yield re.sub(r"\\sqrt\{(\d+)\}", r"\\sqrt{ \1 }", gold)
    yield re.sub(r"\^(\d)(?!\d)", r"^{\1}", gold)
    yield re.sub(r"\^\{(\d)\}", r"^\1", gold)
    yield gold.replace("^\\circ", "^{\\circ}") if "^\\circ" in gold else gold.replace("^{\\circ}", "^\\circ")
    yield gold.replace("pmatrix", "bmatrix")
    yield "\\displaystyle " + gold
    if not gold.endswith("."):
        yield gold + "."
    if "$" not in gold:
        yield f"${gold}$"
        yield f" {gold} "
    yield re.sub(r"\\pi\b ?", "π", gold) if "\\pi" in gold else gold
    if not re.search(r"[=<>,]|np\.|\\(?:in|le|ge|cup|text|mbox|begin)", gold) and not re.match(r"-?[A-Z]", gold):
        yield f"x = {gold}"
    if re.search(r"\\frac\{(\d+)\}\{(\d+)\}", gold) and not re.search(r"\d\s*\\frac", gold):
        yield re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"(\1/\2)", gold)


def rewrites(spec: AnswerSpec, gold: str) -> list[str]:
    if spec.kind == "choice":
        if gold in spec.choices and len(gold) > 1:
            letter = chr(65 + spec.choices.index(gold))
            return [gold, f"({letter})", letter, f"{letter}) {gold}", f"({letter}) {gold}"]
        letter = gold.strip("()")
        return [
            letter,
            f"({letter})",
            f"{letter})",
            f"({letter}) something",
            f"option {letter}",
            f"Option ({letter})",
            f"{letter}.",
        ]
    if spec.kind == "yes_no":
        return [gold, gold.lower(), gold.upper(), gold.capitalize(), gold + "."]
    if spec.kind == "text":
        return [gold, f'"{gold}"'] if gold.isascii() and '"' not in gold else [gold]
    q = exact(gold)
    found = list(number_rewrites(q)) if q is not None else list(math_rewrites(gold))
    return list(dict.fromkeys([gold, *found]))


def suited(spec: AnswerSpec, sentence: str, answer: str) -> bool:
    """Whether a writer would put this answer into this sentence."""
    if "####" in sentence and "\n" in answer:
        return False
    if spec.kind in ("number", "math"):
        bare = "$" in answer or "boxed" in answer
        return not (bare and ("${}$" in sentence or "\\(" in sentence or "\\[" in sentence or "$${}$$" in sentence))
    return "boxed" not in sentence and "fbox" not in sentence and "$" not in sentence and "\\" not in sentence


def placed(name: str, gold_answers: list[Gold], every: int) -> None:
    """Each gold answer in every n-th sentence, and each of its rewritings in one."""
    failures, tried = [], 0
    sentences = SENTENCES + MATH_SENTENCES
    for i, (spec, gold) in enumerate(gold_answers):
        pairs = [(gold, sentence) for sentence in sentences[i % every :: every]]
        pairs += [(w, sentences[(i + j) % len(sentences)]) for j, w in enumerate(rewrites(spec, gold))]
        for answer, sentence in pairs:
            if not suited(spec, sentence, answer):
                continue
            tried += 1
            text = sentence.format(answer)
            found = find(text, spec)
            if found is None or not found.stated or found.key != key(gold, spec):
                failures.append((gold, text, found and found.value, found and found.key, key(gold, spec)))
            else:
                assert text[found.start : found.end] == found.value
    report(name, tried, failures)


@pytest.mark.parametrize("name", SETS)
def test_every_gold_answer_is_found_in_some_sentences_and_equals_itself(name: str, golds: Golds) -> None:
    placed(name, golds(name), every=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_gold_answer_is_found_in_every_sentence_and_equals_itself(name: str, golds: Golds) -> None:
    placed(name, golds(name), every=1)


@pytest.mark.parametrize("name", SETS)
def test_every_rewriting_of_a_gold_answer_has_its_key(name: str, golds: Golds) -> None:
    failures, tried = [], 0
    for spec, gold in golds(name):
        for written in rewrites(spec, gold):
            tried += 1
            if not equal(gold, written, spec):
                failures.append((gold, written, key(gold, spec), key(written, spec)))
    report(name, tried, failures)


@pytest.mark.parametrize("name", SETS)
def test_gold_answers_of_different_problems_differ(name: str, golds: Golds) -> None:
    """Numbers are compared exactly here; everything else is different if its letters and digits are."""
    chance = random.Random(0)
    all_golds = golds(name)
    failures, tried = [], 0
    for _ in range(4_000):
        (spec, a), (other, b) = chance.choice(all_golds), chance.choice(all_golds)
        if spec != other or not different(spec, a, b):
            continue
        tried += 1
        written = chance.choice(rewrites(spec, b))
        if equal(a, written, spec):
            failures.append((a, b, written, key(a, spec)))
    report(name, tried, failures)


def different(spec: AnswerSpec, a: str, b: str) -> bool:
    """Certain that a and b are two answers."""
    if spec.kind in ("number", "math"):
        p, q = exact(a), exact(b)
        if p is not None and q is not None:
            return p != q
        if p is None and q is None:
            return symbols(a) != symbols(b)
        return "sqrt" in a + b or "pi" in a + b
    if spec.kind == "yes_no":
        return (a.casefold() in ("yes", "true")) != (b.casefold() in ("yes", "true"))
    return a.casefold() != b.casefold()


LOOKS = re.compile(
    r"\\(?:text|mbox|mathrm) ?\{[^{}]*\}(\^\d)?|\^\{?\\circ\}?|\\[$%!,;]|[a-z]+(\([a-z]\))? ?="
    r"|\\(?:left|right|d?frac|tfrac|cdot|quad)\b"
)


def symbols(gold: str) -> list[str]:
    """What the gold is made of, units and typesetting aside, in any order."""
    return sorted(re.findall(r"[A-Za-z]|\d", LOOKS.sub("", gold)))


@pytest.mark.parametrize("name", ["math", "minerva_math", "olympiadbench", "contests"])
def test_gold_answers_that_share_a_key_are_equal_by_math_verify_too(name: str, golds: Golds) -> None:
    math_verify = pytest.importorskip("math_verify")
    config = [math_verify.LatexExtractionConfig()]
    groups: dict[str, list[str]] = defaultdict(list)
    for spec, gold in golds(name):
        bare = re.sub(r"(?<=[\d}]) ?\\text ?\{[^{}]*\}(\^\d)?|\\[$%]|[$ ]|\^\{?\\circ\}?|\.$", "", gold)
        bare = re.sub(r"^[A-Za-z](\([a-z]\))?=", "", bare)
        groups[key(gold, spec)].append(bare.replace("-3./2", "-3/2"))

    def read(gold: str) -> Any:
        return math_verify.parse(f"\\boxed{{{gold}}}", config, parsing_timeout=None)

    failures, tried = [], 0
    for shared, group in groups.items():
        for other in sorted(set(group) - {group[0]}):
            tried += 1
            a, b = read(group[0]), read(other)
            pairs = ((a, b), (b, a))
            by_number = exact(other) is not None and exact(group[0]) == exact(other)
            if not by_number and not any(math_verify.verify(x, y, timeout_seconds=None) for x, y in pairs):
                failures.append((group[0], other, shared))
    report(name, tried, failures)


def report(name: str, tried: int, failures: list[Any]) -> None:
    """All pass; the first failures are printed."""
    print(f"{name}: {tried - len(failures)} of {tried} pass")
    for failure in failures[:12]:
        print("  ", failure)
    assert not failures, f"{len(failures)} of {tried}"
