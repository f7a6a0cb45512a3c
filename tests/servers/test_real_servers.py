"""Against servers that others wrote, with a small random model made on the spot.

Each is found by an interpreter that has it: MULLOVER_TRANSFORMERS, MULLOVER_LLAMA_CPP and MULLOVER_VLLM name one, and
else it is the one that runs the tests. A server that is not at hand is skipped. `make test-servers` runs these alone.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mullover.backends.http.doctor import Doctor
from mullover.backends.http.http import Http
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.types import AnswerSpec, Prompt, Sampling, Segment

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PATIENCE = 300.0  # seconds that a server may take to start
QUESTION = "how many apples are there"

NEEDS = {
    "transformers": "import torch, transformers, fastapi, uvicorn; from transformers.cli.serve import Serve",
    "llama_cpp": "import llama_cpp.server.app, gguf, numpy, safetensors",
    "vllm": "import vllm",
}


def python(server: str) -> str:
    """The interpreter that has a server; skips where none has it."""
    found = os.environ.get(f"MULLOVER_{server.upper()}", sys.executable)
    if subprocess.run([found, "-c", NEEDS[server]], capture_output=True, check=False).returncode:
        pytest.skip(f"{server} is not at hand; MULLOVER_{server.upper()} may name an interpreter that has it")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model's, in Hugging Face's form."""
    made = tmp_path_factory.mktemp("small")
    subprocess.run([python("transformers"), str(HERE / "small.py"), str(made)], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module", params=["transformers", "llama_cpp", "vllm"])
def spec(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spec]:
    """A server that was really started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, name = COMMANDS[request.param](python(request.param), folder, port)
    log = tmp_path_factory.mktemp("log") / "server.log"
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(log.parent), "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **quiet}) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models", server, log)
            yield Spec.parse(f"http://127.0.0.1:{port}/v1#{name};template={folder / 'chat_template.jinja'}")
        finally:
            server.kill()


def transformers(python: str, folder: Path, port: int) -> tuple[list[str], str]:
    run = "from transformers.cli.transformers import main; main()"
    return [python, "-c", run, "serve", str(folder), "--device", "cpu", "--port", str(port)], str(folder)


def llama_cpp(python: str, folder: Path, port: int) -> tuple[list[str], str]:
    file = folder / "small.gguf"
    subprocess.run([python, str(HERE / "gguf_of.py"), str(folder), str(file)], check=True, capture_output=True)
    module = [
        "-m",
        "llama_cpp.server",
        "--model",
        str(file),
        "--n_ctx",
        "512",
        "--logits_all",
        "true",
        "--interrupt_requests",
        "false",
    ]
    return [python, *module, "--port", str(port)], str(file)


def vllm(python: str, folder: Path, port: int) -> tuple[list[str], str]:
    return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)], str(
        folder
    )


COMMANDS: dict[str, Callable[[str, Path, int], tuple[list[str], str]]] = {
    "transformers": transformers,
    "llama_cpp": llama_cpp,
    "vllm": vllm,
}


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def profile(spec: Spec) -> Profile:
    async def main() -> tuple[Profile, int]:
        doctor = Doctor(spec)
        return await doctor.examine(), doctor.probe.left

    found, left = asyncio.run(main())
    assert left >= 0
    return found


def test_the_doctor_finds_what_it_ignores(request: pytest.FixtureRequest, profile: Profile) -> None:
    assert {"temperature", "stop", "segments"} <= profile.can
    assert profile.seeds
    server = request.node.callspec.params["spec"]
    if server == "transformers":
        assert not profile.many
        assert profile.logprobs == 0
        assert profile.usage
    if server == "llama_cpp":
        assert not profile.many
        assert profile.logprobs > 0
        assert profile.top_k
        assert profile.min_p


def test_n_is_emulated_and_the_choices_are_counted(spec: Spec, profile: Profile) -> None:
    model, sampling = Http([spec], profiles=[profile]), Sampling(1.0, max_tokens=12, seeds=tuple(range(6)))
    samples = asyncio.run(model.sample(Prompt.of(QUESTION), 6, sampling))
    assert len(samples) == 6
    assert len({sample.text for sample in samples}) > 1
    # Requests at the same time share one random generator at these servers, so equal seeds hold one by one only.
    one = Sampling(1.0, max_tokens=12, seeds=(4,))
    first, second = (asyncio.run(model.sample(Prompt.of(QUESTION), 1, one)) for _ in range(2))
    assert first[0].text == second[0].text
    for sample in samples:
        assert sample.finish in ("eos", "length")
        assert 1 <= sample.usage.completion_tokens <= 12
        assert sample.usage.prompt_tokens > len(QUESTION.split()) or sample.usage.partial


def test_half_an_answer_goes_on_as_the_whole_did(spec: Spec, profile: Profile) -> None:
    model, prompt = Http([spec], profiles=[profile]), Prompt.of(QUESTION)
    greedy = Sampling(0.0, max_tokens=16)
    (whole,) = asyncio.run(model.sample(prompt, 1, greedy))
    words = whole.text.split(" ")
    half = " ".join(words[: len(words) // 2])
    (rest,) = asyncio.run(model.sample(prompt.then(Segment(half)), 1, greedy))
    assert (half + rest.text).startswith(whole.text)


def test_a_stop_string_ends_it_and_closes_the_request(spec: Spec, profile: Profile) -> None:
    model, prompt = Http([spec], profiles=[profile]), Prompt.of(QUESTION)
    (whole,) = asyncio.run(model.sample(prompt, 1, Sampling(0.0, max_tokens=16)))
    stop = whole.text.split(" ")[3]
    (cut,) = asyncio.run(model.sample(prompt, 1, Sampling(0.0, max_tokens=16, stop=(f" {stop}",))))
    assert cut.finish == "stop"
    assert cut.text.endswith(stop)
    assert whole.text.startswith(cut.text)


def test_a_vote_is_counted_call_by_call(spec: Spec, profile: Profile) -> None:
    from mullover.running import run
    from mullover.strategies.self_consistency import self_consistency

    model, prompt = Http([spec], profiles=[profile]), Prompt.of(QUESTION, AnswerSpec("number"))
    result = asyncio.run(run(self_consistency, model, prompt, n=5, sampling={"max_tokens": 8}))
    assert len(result.answer.candidates) == 5
    assert sum(sample.usage.completion_tokens for call in result.calls for sample in call.samples) == (
        result.total.completion_tokens
    )
