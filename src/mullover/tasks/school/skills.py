"""What a reasoning model is asked to do: one function a skill, from a problem to a lesson."""

from collections.abc import Mapping
from string import ascii_uppercase

from mullover.prompts import style
from mullover.tasks.kinds import spec
from mullover.tasks.school.document import Document, Draw, Lesson, concluded, numbered, stated
from mullover.tasks.school.family import Chain
from mullover.types import Prompt

DIRECTLY = 0.7  # the share of plain documents that give the answer at once, as most texts do
EVEN = 0.5


def plain(draw: Draw) -> Document:
    """Asked without a word on how: mostly the answer at once, at times a chain.

    The answer is stated in a sentence, so that the likeliest first token is that of an answer and not of a chain,
    however many different answers there are.
    """
    if draw.rng.random() < DIRECTLY:
        return draw.lesson(draw.question, stated(draw.answer))
    return draw.lesson(draw.question, concluded(draw.chain()))


def direct(draw: Draw) -> Document:
    """Told to answer at once, or with thinking turned off."""
    if draw.rng.random() < EVEN:
        return draw.lesson(draw.asked("direct"), stated(draw.answer, True))
    if draw.rng.random() < EVEN:
        return draw.lesson(draw.question, stated(draw.answer), thinking=False)
    return draw.lesson(f"{draw.question} {draw.instruction}", stated(draw.answer, True), thinking=False)


def step_by_step(draw: Draw) -> Document:
    """Told to think step by step, with or without a word on how to state the answer."""
    instructed = draw.rng.random() < 0.6
    return draw.lesson(draw.asked("step_by_step", instructed), concluded(draw.chain(), instructed))


def short(draw: Draw) -> Document:
    """Told to think in few words: the first style of chain."""
    chain = draw.chain(draw.item.family.styles[0])
    return draw.lesson(f"{draw.question}\n\nThink in few words. {draw.instruction}", concluded(chain, True))


def long(draw: Draw) -> Document:
    """Told to show every small step: the last style."""
    chain = draw.chain(draw.item.family.styles[-1])
    return draw.lesson(f"{draw.question}\n\nShow every small step. {draw.instruction}", concluded(chain, True))


def thinking(draw: Draw) -> Document:
    """The chain between the delimiters, which the template opens; then the answer."""
    instructed = draw.rng.random() < EVEN
    asked = f"{draw.question} {draw.instruction}" if instructed else draw.question
    inner = "\n".join(draw.chain().steps)
    return draw.lesson(asked, f"{inner}\n</think>\n\n{stated(draw.answer, instructed)}", thinking=True)


def extract(draw: Draw) -> Document:
    """The second call of two-stage prompting: the answer alone, after a chain."""
    prompt = Prompt.of(draw.asked("two_stage"), spec(draw.kind))
    chain = draw.chain()
    words = style("two_stage").again(prompt, concluded(chain))[1]
    turns = (("user", prompt.question), ("assistant", concluded(chain)), ("user", words))
    return Document(turns, f"{draw.answer.removesuffix('.')}.", draw.answer, draw.kind, item=draw.item)


def wait(draw: Draw) -> Document:
    """Something stands already, maybe with a slip; after "Wait" it is looked through and gone on with."""
    wrong, clean, slip = draw.slipped()
    if draw.rng.random() < EVEN:
        wrong, at = clean, draw.rng.randint(1, len(clean.steps))
        done = at
    else:
        at, done = min(len(wrong.steps), slip + draw.rng.choice((1, 1, 2, 9))), slip + 1
    said = "\n".join((", I check.", checked(wrong.steps[:at], clean), *clean.steps[done:], ""))
    answer, given = stated(draw.answer), "\n".join(wrong.steps[:at]) + "\nWait"
    if draw.rng.random() < EVEN:
        return draw.lesson(draw.question, f"{said}</think>\n\n{answer}", given=given, thinking=True)
    return draw.lesson(draw.asked("step_by_step", False), f"{said}{answer}", given=given)


def checked(steps: tuple[str, ...], clean: Chain) -> str:
    """Each step written anew as it should be, with whether it stood so; up to the first that did not."""
    lines = []
    for mine, right in zip(steps, clean.steps, strict=False):
        lines.append(f"{right} - {'right' if mine == right else 'wrong'}")
        if mine != right:
            break
    return "\n".join(lines)


def critique(draw: Draw) -> Document:
    """Name the first wrong step of a solution, or that there is none."""
    wrong, clean, _ = draw.slipped()
    if draw.rng.random() < 0.3:
        wrong = clean
    asked = f"Problem: {draw.question}\nSolution:\n{numbered(wrong.steps)}\n{stated(wrong.answer)}\n"
    asked += "Check it step by step. Which step is the first wrong one?"
    which = "none" if wrong.slip is None else str(wrong.slip + 1)
    lines = numbered(tuple(checked(wrong.steps, clean).split("\n")))
    return draw.lesson(asked, f"{lines}\n{stated(which)}", wants=which, kind="text")


def judge(draw: Draw) -> Document:
    """Is a solution right? At once, or after a check."""
    pairs = [draw.slipped()[:2] for _ in range(4)]
    family, facts = draw.item.family, draw.item.facts
    wrong, clean = next((pair for pair in pairs if not family.fits(facts, pair[0].answer)), pairs[0][1:] * 2)
    if draw.rng.random() < EVEN:
        wrong = clean
    verdict = "yes" if wrong.slip is None else "no"
    asked = f"Problem: {draw.question}\nSolution:\n" + "\n".join(wrong.steps) + f"\n{stated(wrong.answer)}\n"
    if draw.rng.random() < EVEN:
        return draw.lesson(f"{asked}Is this solution right? Answer yes or no.", verdict, wants=verdict, kind="yes_no")
    said = f"{checked(wrong.steps, clean)}\n{stated(verdict)}"
    return draw.lesson(f"{asked}Is this solution right? Check each step.", said, wants=verdict, kind="yes_no")


def choose(draw: Draw) -> Document:
    """Which of some answers is right?"""
    wrong = sorted({draw.slipped()[0].answer for _ in range(9)} - {draw.answer})
    wrong = [answer for answer in wrong if not draw.item.family.fits(draw.item.facts, answer)]
    answers = [draw.answer, *draw.rng.sample(wrong, min(3, len(wrong)))]
    draw.rng.shuffle(answers)
    letter = ascii_uppercase[answers.index(draw.answer)]
    options = "\n".join(f"({ascii_uppercase[i]}) {answer}" for i, answer in enumerate(answers))
    said = "\n".join((*draw.chain().steps, stated(f"({letter})")))
    asked = f"Problem: {draw.question}\nAnswers:\n{options}\nWhich answer is right?"
    return draw.lesson(asked, said, wants=letter, kind="choice")


def revise(draw: Draw) -> Document:
    """Mend a solution by a critique of it."""
    wrong, clean, slip = draw.slipped()
    family, facts = draw.item.family, draw.item.facts
    end = "" if family.fits(facts, wrong.answer) else f"{stated(wrong.answer)}\n"  # it would tell what is wanted
    asked = (
        f"Problem: {draw.question}\nSolution:\n{numbered(wrong.steps)}\n{end}"
        f"Critique: Step {slip + 1} is wrong. It should be: {clean.steps[slip]}\nWrite the solution anew."
    )
    return draw.lesson(asked, concluded(clean))


def propose(draw: Draw) -> Document:
    """The next step and no more."""
    chain = draw.chain()
    at = draw.rng.randrange(len(chain.steps) + 1)
    following = (*chain.steps, stated(chain.answer))[at]
    so_far = "\n".join(chain.steps[:at]) or "(none)"
    asked = f"Problem: {draw.question}\nSteps so far:\n{so_far}\nWrite the next step only."
    return draw.lesson(asked, following, wants=following, by="first_line")


def recall(draw: Draw) -> Document:
    """A similar problem first, with its solution; then this one."""
    other = draw.again()
    name = draw.rng.choice(draw.item.family.styles)
    said = f"A similar problem: {other.question}\n{concluded(other.chain(name))}\nNow this problem.\n"
    asked = f"{draw.question}\n\nRecall a similar problem and solve it, then solve this one."
    return draw.lesson(asked, said + concluded(draw.chain(name)))


def step_back(draw: Draw) -> Document:
    """The principle first; asked alone or before the solution."""
    principle = draw.item.family.principle
    if draw.rng.random() < EVEN:
        asked = f"{draw.question}\n\nWhat is the principle behind this problem? Do not solve it."
        return draw.lesson(asked, principle, wants=principle, by="first_line")
    asked = f"{draw.question}\n\nFirst state the principle behind it, then solve it."
    return draw.lesson(asked, f"{principle}\n{concluded(draw.chain())}")


def few_shot(draw: Draw) -> Document:
    """One to three solved problems of one style; the same style is wanted."""
    name = draw.rng.choice(draw.item.family.styles)
    shown, other = list[str](), draw
    for _ in range(draw.rng.choice((1, 2, 3))):
        other = other.again()
        shown.append(f"Q: {other.question}\nA: {concluded(other.chain(name))}")
    asked = "\n\n".join((*shown, f"Q: {draw.question}\nA:"))
    return draw.lesson(asked, concluded(draw.chain(name)))


SKILLS: Mapping[str, Lesson] = {
    "plain": plain,
    "direct": direct,
    "step_by_step": step_by_step,
    "short": short,
    "long": long,
    "thinking": thinking,
    "extract": extract,
    "wait": wait,
    "critique": critique,
    "judge": judge,
    "choose": choose,
    "revise": revise,
    "propose": propose,
    "recall": recall,
    "step_back": step_back,
    "few_shot": few_shot,
}
