"""Which endpoint gets a request: the one that knows its prompt, unless another is much less loaded."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b

from mullover.backends.http.endpoint import Endpoint
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.gate import TOO_LONG

LOYAL = 2.0  # how much longer than the least loaded the one that knows the prompt may take
ROOM = 8  # requests that it may hold beyond that: a server that batches hardly feels them


class Router:
    """Prefix-sticky, least-loaded.

    Requests that share a prompt go to one endpoint, whose cache then holds it (rendezvous hashing, so that
    an endpoint that comes or goes moves no other prompt); one that is broken, or much slower to reach, is
    passed over. One that broke gets a request again when its rest is over. Retries have one budget for all.

    Source: Thaler & Ravishankar 1998 (rendezvous hashing); Mirrokni et al. 2018, arXiv:1608.01350 (bounded loads).
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = endpoints
        self.credit = 0.0  # retries earned by successes
        self.retries = 0

    async def enter(self, key: str, avoid: Endpoint | None) -> Endpoint:
        """An endpoint with a place for one request; the caller leaves its gate afterwards.

        Args:
            avoid: where the last attempt failed; taken only if there is no other.

        Raises:
            AttemptError: every endpoint is out of use.
        """
        if len(self.endpoints) == 1:
            return await self._only(self.endpoints[0])
        while True:
            healthy = [e for e in self.endpoints if not e.gate.is_broken]
            ready = [e for e in self.endpoints if e.gate.is_ready_for_trial]
            rested = [e for e in self.endpoints if not e.gate.is_gone]
            if not healthy and not rested and not ready:
                soonest = min(self.endpoints, key=lambda e: e.gate.pause)
                await soonest.gate.enter()  # raises while it rests; or waits for the one trial, and follows it
                return soonest
            usable = ready or healthy or rested
            endpoint = self.pick(key, [e for e in usable if e is not avoid] or healthy or usable)
            with suppress(AttemptError):  # it went out of use while we waited: choose again
                await endpoint.gate.enter()
                return endpoint

    async def _only(self, endpoint: Endpoint) -> Endpoint:
        while True:
            try:
                await endpoint.gate.enter()
                return endpoint
            except AttemptError:
                if endpoint.gate.is_gone:
                    raise

    def pick(self, key: str, usable: Sequence[Endpoint]) -> Endpoint:
        """The one that knows the prompt of this key, or else the least loaded."""
        if len(usable) == 1:
            return usable[0]
        known = [e.seconds for e in usable if e.seconds]
        usual = min(known, default=1e-3)  # of one that was not asked yet

        home = max(usable, key=lambda e: blake2b(f"{key} {e.spec.url}".encode("utf-8", "replace")).digest())
        least = min(usable, key=lambda e: e.load(usual))
        return home if home.load(usual) <= LOYAL * least.load(usual) + ROOM * usual else least

    def succeeded(self) -> None:
        self.credit += 0.25

    def is_hopeless(self, failed: AttemptError) -> bool:
        """Is asking again no use, or no more allowed? If not, one more retry is counted.

        There are at most 100 retries, twice the most requests that were in flight, and one for every four successes.
        """
        if failed.again == "no" or (failed.after or 0) > TOO_LONG or all(e.gate.is_gone for e in self.endpoints):
            return True
        if self.retries >= 100 + 2 * sum(e.gate.most for e in self.endpoints) + self.credit:
            return True
        self.retries += 1
        return False
