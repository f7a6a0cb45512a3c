"""Contest and university mathematics: AIME, AMC, HMMT, BRUMO, MATH, Minerva's courses, OlympiadBench."""

import re
from collections.abc import Mapping

from mullover.errors import OptionError
from mullover.tasks.entry import Entry, Row, jsonl, tidy
from mullover.tasks.hub import Hub, renamed
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem
from mullover.types import Kind

PUBLISHED = "as published"


def contest(row: Row, i: int) -> Problem:
    """Answers are whole numbers. A prompt that already asks for a box gets no other instruction."""
    return _short(row, i, "number")


def contest_math(row: Row, i: int) -> Problem:
    return _short(row, i, "math")


def _short(row: Row, i: int, kind: Kind) -> Problem:
    question = next(row[name] for name in ("prompt", "problem", "question") if row.get(name)).strip()
    gold = row["answer"] if "answer" in row else row["target"]
    return Problem(str(row.get("id", i)), question, tidy(gold), spec(kind, question=question))


def math500(row: Row, i: int) -> Problem:
    facts = {"subject": row["subject"], "level": str(row["level"]).removeprefix("Level ")}
    return Problem(row["unique_id"], row["problem"], row["answer"], spec("math"), facts=facts)


def math(row: Row, i: int) -> Problem:
    """The gold is in the last box of the solution."""
    facts = {"subject": row["type"], "level": row["level"].removeprefix("Level ")}
    return Problem(str(row["idx"]), row["problem"], last_box(row["solution"]), spec("math"), facts=facts)


def minerva(row: Row, i: int) -> Problem:
    facts = {"course": row["type"]}
    return Problem(str(row["idx"]), row["problem"], last_box(row["solution"]), spec("math"), facts=facts)


def olympiad(row: Row, i: int) -> Problem:
    """94 problems have several answers: in kind math they are a list without brackets, which has no order.

    The authors' judge takes them in any order too, even for the few whose question asks for two things in turn. Units
    stand in the question and are no part of the gold.
    """
    context = f"{row['context']}\n\n" if row["context"] else ""
    gold = row["final_answer"][0].strip().replace("$", "")
    facts = {"subfield": row["subfield"], "answer_type": row["answer_type"], "unit": row["unit"] or ""}
    return Problem(str(row["id"]), context + row["question"], gold, spec("math"), facts=facts)


def last_box(solution: str) -> str:
    r"""The contents of the last \boxed{...} or \fbox{...}; braces may nest.

    Raises:
        OptionError: there is none, or it is not closed.
    """
    begins = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", solution)]
    if begins:
        depth = 1
        for at in range(begins[-1], len(solution)):
            depth += {"{": 1, "}": -1}.get(solution[at], 0)
            if depth == 0:
                return solution[begins[-1] : at].strip()
    bare = re.search(r".*\\boxed\s+(\w+)", solution, re.DOTALL)  # \boxed 2, without braces
    if bare is None:
        raise OptionError(f"no box in the solution {solution[-60:]!r}; fetch the file again")
    return bare[1]


def _aime(what: str, file: str, hub: Hub | None = None, problems: int = 30) -> Entry:
    return Entry(what, "number", problems, PUBLISHED, f"aime/{file}.jsonl", contest, jsonl, hub=hub)


def _final(what: str, file: str, hub: Hub | None = None) -> Entry:
    return Entry(what, "math", 30, PUBLISHED, f"aime/{file}.jsonl", contest_math, jsonl, hub=hub)


def _math(what: str, problems: int, file: str, hub: Hub | None = None) -> Entry:
    return Entry(what, "math", problems, "MIT", f"math/{file}.jsonl", math500, jsonl, hub=hub)


def _arena(name: str) -> Hub:
    return Hub(f"MathArena/{name}", "train", row=renamed(id="problem_idx", prompt="problem"))


TASKS: Mapping[str, Entry] = {
    "math500": _math("500 problems of the MATH test split", 500, "math500", hub=Hub("HuggingFaceH4/MATH-500", "test")),
    "math500/prm800k": _math("the same 500 in PRM800K's edition", 500, "math500_prm800k_split"),
    "math": Entry("the whole MATH test split", "math", 5000, "MIT", "math/math_test_5000.jsonl", math, jsonl),
    "aime24": _aime(
        "AIME 2024, I and II", "aime24", Hub("HuggingFaceH4/aime_2024", "train", row=renamed(prompt="problem"))
    ),
    "aime24/numina": _aime("AIME 2024 in NuminaMath's edition", "aime24_numina"),
    "aime25": _aime("AIME 2025, I and II", "aime25", _arena("aime_2025")),
    "aime25/gair_1": _aime("AIME 2025 I in GAIR's edition", "aime2025_I_gair", problems=15),
    "aime25/gair_2": _aime("AIME 2025 II in GAIR's edition", "aime2025_II_gair", problems=15),
    "aime26": _aime("AIME 2026, I and II", "aime26"),
    "otis_mock_aime": Entry(
        "mock AIME of 2024 and 2025",
        "number",
        45,
        "CC-BY-4.0",
        "rec_epoch_otis_mock_aime/problems.jsonl",
        contest,
        jsonl,
    ),
    "amc23": Entry(
        "AMC 12 of 2023",
        "number",
        40,
        PUBLISHED,
        "amc23/test.jsonl",
        contest,
        jsonl,
        hub=Hub("math-ai/amc23", "test"),
    ),
    "hmmt25": _final("HMMT February 2025", "hmmt25"),
    "hmmt_feb_2025": _final("the same 30 without a word on boxes", "hmmt_feb_2025", _arena("hmmt_feb_2025")),
    "brumo25": _final("BRUMO 2025", "brumo_2025", _arena("brumo_2025")),
    "minerva_math": Entry(
        "undergraduate science from OpenCourseWare",
        "math",
        272,
        "MIT or Apache-2.0",
        "minerva_math/test.jsonl",
        minerva,
        jsonl,
    ),
    "olympiadbench": Entry(
        "English olympiad mathematics with a final answer; proofs and pictures are not in it",
        "math",
        675,
        "Apache-2.0",
        "olympiadbench/test.jsonl",
        olympiad,
        jsonl,
    ),
}
