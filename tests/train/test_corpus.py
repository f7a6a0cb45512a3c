"""Batches of generated documents: a function of recipe and number, from training problems only."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from tests.train.small import SHAPE, TINY, tokenizer

from mullover.errors import MulloverError, OptionError
from mullover.tasks.school import family as families
from mullover.tasks.school.document import Document
from mullover.tasks.school.family import Drawn
from mullover.train import chat, corpus
from mullover.train.loop import Batch
from mullover.train.recipe import Phase, Recipe, named, read


def equal(a: Batch, b: Batch) -> bool:
    tensors = [(a.ids, b.ids), (a.where, b.where), (a.targets, b.targets)]
    if a.weights is not None and b.weights is not None:
        tensors.append((a.weights, b.weights))
    same = a.lengths == b.lengths and (a.weights is None) == (b.weights is None)
    return same and all(torch.equal(x, y) for x, y in tensors)


def said_of(recipe: Recipe, number: int, count: int) -> list[tuple[list[int], int, int]]:
    """Ids of the documents that a batch begins with, how many are turns, and how many stand before what is said."""
    found = chat.encoded(tokenizer(), corpus.documents(recipe, number))
    return list(islice((one for one in found if len(one[0]) <= recipe.model.context), count))


class TestBatch:
    def test_it_is_a_function_of_recipe_and_number(self) -> None:
        made = [corpus.batch(TINY, tokenizer(), number) for number in (3, 4, 3)]
        assert equal(made[0], made[2]) and not equal(made[0], made[1])
        assert not equal(made[0], corpus.batch(replace(TINY, seed=1), tokenizer(), 3))
        assert equal(made[0], corpus.batch(replace(TINY, steps=99, lr=1.0, exam=3), tokenizer(), 3))

    def test_it_ends_with_the_document_that_fills_it(self) -> None:
        made = corpus.batch(TINY, tokenizer(), 0)
        assert sum(made.lengths) == len(made.ids) >= TINY.batch > len(made.ids) - made.lengths[-1]

    def test_no_document_is_longer_than_the_context(self) -> None:
        some = said_of(TINY, 0, 200)
        long = sorted(len(ids) for ids, _, _ in some)[100]
        recipe = replace(TINY, model=replace(SHAPE, context=long))
        lengths = [n for i in range(8) for n in corpus.batch(recipe, tokenizer(), i).lengths]
        assert max(lengths) <= long < max(n for i in range(8) for n in corpus.batch(TINY, tokenizer(), i).lengths)

    def test_only_what_is_said_is_told(self) -> None:
        made = corpus.batch(TINY, tokenizer(), 0)
        assert made.weights is None
        wanted, start = list[int](), 0
        for ids, _, known in said_of(TINY, 0, len(made.lengths)):
            assert made.ids[start : start + len(ids)].tolist() == ids
            wanted += range(start + known - 1, start + len(ids) - 1)
            start += len(ids)
        assert start == len(made.ids)
        assert made.where.tolist() == wanted
        assert torch.equal(made.targets, made.ids[made.where + 1])

    def test_what_is_asked_may_be_told_with_a_weight(self) -> None:
        recipe = replace(TINY, phases=(Phase(0, skills={"wait": 1, "direct": 1}),))
        plain, made = (corpus.batch(replace(recipe, prompt_weight=w), tokenizer(), 0) for w in (0.0, 0.1))
        assert made.weights is not None and torch.equal(made.ids, plain.ids)
        assert torch.equal(made.targets, made.ids[made.where + 1])
        heavy = made.weights == 1
        assert torch.equal(made.where[heavy], plain.where)
        light = list[float]()
        for _, turns, known in said_of(recipe, 0, len(made.lengths)):
            light += [0.1] * (turns - 1) + [0.0] * (known - turns)
        assert torch.equal(made.weights[~heavy], torch.tensor(light)) and 0 in light
        ends = torch.tensor(made.lengths).cumsum(0) - 1  # after the last of a document nothing is told
        everywhere = set(range(len(made.ids))) - set(ends.tolist())
        assert set(made.where.tolist()) == everywhere

    def test_no_two_documents_have_one_place(self) -> None:
        places = [corpus.place(batch, i) for batch in range(40) for i in (*range(3), 4095, 4096, 4097, 9000, 9001)]
        assert len(set(places)) == len(places) and corpus.place(2, 5) == 2 * 4096 + 5

    def test_phases_change_what_is_drawn(self) -> None:
        later = Phase(5, {"swaps": 1.0}, (0.0, 0.0, 1.0, 0.0, 0.0), {"plain": 1.0})
        recipe = replace(TINY, phases=(*TINY.phases, later))
        for number, name, grades in ((4, "sums", {1, 2}), (5, "swaps", {3})):
            items = [document.item for document in islice(corpus.documents(recipe, number), 30)]
            found = {(item.family.name, item.grade) for item in items if item is not None}
            assert found == {(name, grade) for grade in grades}

    def test_weights_are_shares_of_what_is_drawn(self) -> None:
        phase = Phase(0, {"sums": 3.0, "swaps": 1.0}, (1.0, 0.0, 0.0, 0.0, 0.0), {"plain": 1.0, "direct": 0.0})
        found = list(islice(corpus.documents(replace(TINY, phases=(phase,)), 0), 600))
        sums = [d for d in found if d.item is not None and d.item.family.name == "sums"]
        assert 400 < len(sums) < 500
        assert all(document.thinking is None for document in found)  # no direct ones


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_gives_the_batches_in_their_order(workers: int) -> None:
    first = 3 if workers == 2 else 0
    with corpus.Stream(TINY, tokenizer(), first, workers) as stream:
        found = [next(stream) for _ in range(12 if workers == 1 else 20)]
    assert all(equal(one, corpus.batch(TINY, tokenizer(), first + i)) for i, one in enumerate(found))


def test_a_worker_that_was_killed_is_told() -> None:
    with corpus.Stream(TINY, tokenizer(), 0) as stream:
        next(stream)
        (worker,) = multiprocessing.active_children()
        worker.kill()
        with pytest.raises(MulloverError, match=r"was ended \(code -9\); the same command goes on"):
            list(islice(iter(lambda: next(stream), None), 10))  # what is in the pipe is still read


def test_what_a_worker_finds_wrong_is_told() -> None:
    cramped = replace(TINY, model=replace(TINY.model, context=8))
    with corpus.Stream(cramped, tokenizer(), 0) as stream, pytest.raises(OptionError, match="longer than the context"):
        next(stream)


class TestSplits:
    @pytest.fixture
    def drawn(self, monkeypatch: pytest.MonkeyPatch) -> list[Drawn[Any]]:
        """Every problem that is drawn, also those that are shown beside another."""
        from mullover.tasks.school import document

        seen = list[Drawn[Any]]()
        real: Callable[..., Drawn[Any]] = families.drawn

        def watched(*args: Any) -> Drawn[Any]:
            seen.append(real(*args))
            return seen[-1]

        monkeypatch.setattr(document, "drawn", watched)
        return seen

    @pytest.mark.parametrize("step", [0, 1500])
    def test_every_problem_of_the_pocket_recipe_is_for_training(self, drawn: list[Drawn[Any]], step: int) -> None:
        path = named("pocket")
        assert path is not None
        documents: list[Document] = list(islice(corpus.documents(read(path), step), 300))
        assert len(drawn) >= 300
        assert {item.family.split(item.facts) for item in drawn} == {"train"}
        assert all(document.item in drawn for document in documents if document.item is not None)

    @pytest.mark.parametrize("skill", ["few_shot", "recall"])
    def test_so_are_those_that_are_shown_beside(self, drawn: list[Drawn[Any]], skill: str) -> None:
        recipe = replace(TINY, phases=(Phase(0, {}, (1.0,) * 5, {skill: 1.0}),))
        documents = list(islice(corpus.documents(recipe, 0), 60))
        assert len(drawn) >= 120
        assert {item.family.split(item.facts) for item in drawn} == {"train"}
        texts = ["\n".join((document.turns[-1][1], document.said)) for document in documents]
        shown = [item for item in drawn if sum(item.question in text for text in texts)]
        assert len(shown) == len(drawn)


class TestSampleTexts:
    def test_they_are_of_the_last_phase_and_of_no_batch(self) -> None:
        later = Phase(5, {"swaps": 1.0}, (1.0, 0.0, 0.0, 0.0, 0.0), {"plain": 1.0})
        recipe = replace(TINY, phases=(*TINY.phases, later))
        texts = list(corpus.sample_texts(recipe, 20))
        assert len(texts) == 20 and all(text.startswith("<|user|>") and text.endswith("<|end|>") for text in texts)
        drawn = islice(corpus.documents(replace(recipe, phases=(replace(later, step=0),), seed=1), 0), 20)
        assert texts == [chat.asked(document) + document.said + "<|end|>" for document in drawn]

    def test_letters_are_rare_in_them(self) -> None:
        phase = Phase(0, {"sums": 1.0, "letter_count": 1.0}, (1.0,) * 5, {"plain": 1.0})
        texts = list(corpus.sample_texts(replace(TINY, phases=(phase,)), 300))
        drawn = islice(corpus.documents(replace(TINY, phases=(phase,)), 0), 300)
        often = sum(d.item is not None and d.item.family.name == "letter_count" for d in drawn)
        rare = sum("letter" in text or " times " in text for text in texts)
        assert often > 100 and rare < 60
