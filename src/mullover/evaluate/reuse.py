"""Samples that earlier runs drew, so that no run draws them again; each carries what it first cost."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mullover.errors import OptionError
from mullover.store import decode
from mullover.store import manifest as manifests
from mullover.store.index import Index
from mullover.store.journal import NAME, line_at
from mullover.types import Sample
from mullover.wrappers import sample_keys


class Drawn:
    """Of some runs, by problem. What was drawn from another model or request is never found under a sample's key.

    Raises:
        OptionError: a folder holds no run.
    """

    def __init__(self, folders: Sequence[Path], model: str) -> None:
        """`model`: whose samples they must be: the spec and digest of a run's identity, as one text."""
        self._places: dict[str, list[tuple[Path, int, int]]] = {}
        with closing(Index.of_reader()) as index:
            for folder in map(Path.absolute, folders):
                content = manifests.load(folder)
                if content is None:
                    raise OptionError(f"{folder} holds no run whose samples could be used again")
                if model_of(content["identity"]) != model:
                    raise OptionError(f"the samples of {folder} are of another model or another version of it")
                index.refresh(folder)
                for row in index.problems(folder):
                    self._places.setdefault(row.id, []).append((folder / NAME, row.offset, row.length))

    def of(self, problem_id: str) -> dict[str, Sample]:
        """By the keys under which a cache looks them up."""
        found: dict[str, Sample] = {}
        for path, offset, length in self._places.get(problem_id, ()):
            for call in decode(line_at(path, offset, length)).run.calls:
                if call.sampling is None or call.role != "solve":  # a judge may be another model of the same name
                    continue
                keys = sample_keys(call.seeds, call.model, call.prompt, call.sampling)
                for key, sample in zip(keys, call.samples, strict=False):
                    if sample.finish not in ("error", "cancelled"):
                        found[key] = sample
        return found


def usable(folders: Sequence[Path], identity: dict[str, Any]) -> list[Path]:
    """Those of the folders that hold a run of the same model."""
    found = [(folder, manifests.load(folder)) for folder in folders]
    return [folder for folder, content in found if content and model_of(content["identity"]) == model_of(identity)]


def model_of(identity: dict[str, object]) -> str:
    """What a run's identity says of its model: the spec, and a digest of its file."""
    held = identity.get("contents")
    return f"{identity.get('model')} {held.get('model', '') if isinstance(held, dict) else ''}"
