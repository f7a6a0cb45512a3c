"""`mull doctor`: what a server really does with a model, and which strategies that leaves."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from mullover.backends.http.doctor import Doctor
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.probe import CALLS, Probe
from mullover.backends.http.profile import Profile, load, path_of, save
from mullover.backends.http.spec import FORM, Spec
from mullover.backends.pool.file import read, specs
from mullover.cli.output import clean, print_json
from mullover.errors import ModelError, OptionError, StoreError
from mullover.strategies import load as load_strategy
from mullover.strategies import names, needs


def command(words: Sequence[str]) -> Callable[..., Any]:
    return doctor


def doctor(
    model: Annotated[str, typer.Option("--model", help=f"{FORM}; or pool:FILE.toml; or a URL alone, to list models.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> int:
    """Examine, keep, print."""
    if model.startswith(("http://", "https://")) and "#" not in model:
        return listed(model, json)
    if not model.startswith(("http://", "https://", "pool:")):
        raise OptionError(f"the doctor examines servers, and {model!r} is none; write {FORM}")
    found = read(model.removeprefix("pool:"))[0] if model.startswith("pool:") else specs(model)
    reports, sick = list[dict[str, Any]](), list[str]()
    for spec in found:
        try:
            reports.append(examined(spec))
        except ModelError as error:  # one endpoint of a pool may be down; the others are examined
            sick.append(f"{spec.label}: {error}")
            reports.append({"model": spec.name, "server": spec.url, "error": str(error)})
            continue
        if not json:
            show(reports[-1])
    if json:
        print_json(reports)
    if sick:
        raise ModelError("; ".join(sick))
    return 0


def examined(spec: Spec) -> dict[str, Any]:
    """What the doctor found, kept on disk."""
    before, started = load(spec), time.perf_counter()

    async def main() -> tuple[Profile, int]:
        doctor = Doctor(spec)
        return await doctor.examine(lambda step: tell(spec, step)), CALLS - doctor.probe.left

    profile, calls = asyncio.run(main())
    try:
        kept = save(spec, profile)
    except OSError as error:
        raise StoreError(f"cannot keep what was found in {path_of(spec)}: {error.strerror}") from None
    return {
        "model": spec.name,
        "server": spec.url,
        **asdict(profile),
        "can": sorted(profile.can),
        "strategies": strategies(profile),
        "version_before": before.version if before.seen else "",
        "calls": calls,
        "seconds": round(time.perf_counter() - started, 3),
        "kept": str(kept),
    }


def tell(spec: Spec, step: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[Kmull doctor: {spec.label}: {step} ...", end="", file=sys.stderr, flush=True)


def strategies(profile: Profile) -> dict[str, list[str]]:
    """What each strategy lacks here; empty: nothing."""
    return {name: sorted(needs(load_strategy(name)).can - profile.can) for name in names()}


def show(report: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(clean(f"{report['model']} at {report['server']}: {report['calls']} calls, {report['seconds']:.1f} s"))
    width = max(len(check["what"]) for check in report["checks"])
    for check in report["checks"]:
        print(clean(f"  {check['what']:<{width}}  {check['state']:<8}  {check['how']}".rstrip()))
    runs = [name for name, lacks in report["strategies"].items() if not lacks]
    print(f"  {'strategies':<{width}}  {len(runs)} of {len(report['strategies'])}: {', '.join(runs)}")
    for name, lacks in report["strategies"].items():
        if lacks:
            print(f"  {'':<{width}}  not {name}: it needs {', '.join(lacks)}")
    if report["version_before"] not in ("", report["version"]):
        print(clean(f"  its version was {report['version_before']} when it was last examined"))
    print(f"  kept in {report['kept']}", file=sys.stderr)


def listed(url: str, json: bool) -> int:
    """The models a server has."""
    spec = Spec.parse(f"{url}#any")

    async def main() -> Any:
        probe = Probe(spec)
        try:
            return await probe.transport.json("GET", f"{spec.url}/models")
        finally:
            await probe.aclose()

    try:
        value = asyncio.run(main())
    except AttemptError as error:
        raise ModelError(str(error)) from None
    rows = value.get("data") if isinstance(value, dict) else None
    ids = [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row] if isinstance(rows, list) else []
    if json:
        print_json(ids)
        return 0
    if not ids:
        raise ModelError(f"{spec.url} lists no models; write {FORM}")
    for name in ids:
        print(clean(f"{spec.url}#{name}"))
    return 0
