"""A guard outside of a gateway: for a plain client or a LangGraph application, in its own process.

`Local.from_environment()` follows the same rules from the same daemon as a proxy's guard does, and shares runs with the
other processes that have the same state directory. It counts prompts with the tokenizer that it is given; without one,
what hangs on an exact number is in doubt. Whoever owns the process can leave it out: it does NOT hold a caller that
does not want to be held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from watchkeeper_guard.counting import Counter, UncountedError
from watchkeeper_guard.engine import Finding
from watchkeeper_guard.fingerprint import fingerprint
from watchkeeper_guard.guard import Guard, RefusedError
from watchkeeper_guard.measure import measure, output_of
from watchkeeper_guard.process import Running
from watchkeeper_guard.request import Prices, Request, Size, names

Tokenize = Callable[[str], int]
ModelFacts = Callable[[str], tuple[int | None, Prices | None]]


def _nothing_known(model: str) -> tuple[int | None, Prices | None]:
    return None, None


@dataclass(frozen=True)
class Caller:
    """Whose call it is."""

    run: str = ""
    agent: str = ""
    key: str = ""
    team: str = ""


class Local:
    """`facts` tells a model's window and prices, where somebody knows them."""

    def __init__(
        self,
        guard: Guard,
        *,
        environment: str = "",
        tokenize: Tokenize | None = None,
        facts: ModelFacts = _nothing_known,
    ) -> None:
        self.guard = guard
        self._environment, self._tokenize, self._facts = environment, tokenize, facts
        self._counter = Counter()

    @classmethod
    def from_environment(cls, *, tokenize: Tokenize | None = None, facts: ModelFacts = _nothing_known) -> Local:
        running = Running()
        return cls(running.guard, environment=running.settings.environment, tokenize=tokenize, facts=facts)

    def enter(self, body: Mapping[str, object], caller: Caller) -> Ticket:
        """May this call be made? Raises RefusedError; otherwise the ticket that ends it."""
        model = str(body.get("model", ""))
        window, prices = self._facts(model)
        request = Request(
            model=model,
            environment=self._environment,
            keys=names(caller.key),
            teams=names(caller.team),
            agents=names(caller.agent, body.get("user")),
            runs=names(caller.run),
            size=measure(body),
            output=output_of(body),
            fingerprint=fingerprint(body),
            window=window,
            prices=prices,
        )
        ticket = Ticket(self.guard, uuid4().hex, prices)
        verdict = self.guard.enter(request, ticket.name)
        if verdict.count_to is not None:
            request = replace(request, size=self._counted(request, body, verdict.count_to))
            verdict = self.guard.enter(request, ticket.name)
        if verdict.refusal is not None:
            raise RefusedError(verdict.refusal)
        return replace(ticket, marks=verdict.marks)

    def _counted(self, request: Request, body: Mapping[str, object], to: int) -> Size:
        if self._tokenize is not None:
            try:
                counted = self._counter.count_here(body, request.model, self._tokenize, to)
                return replace(request.size, counted=counted)
            except UncountedError:
                pass  # in doubt, as without a tokenizer
        return replace(request.size, can_count=False)


@dataclass(frozen=True)
class Ticket:
    """A call under way; ended once, by what is known of it. `marks`: what a rule says of a call it lets through."""

    guard: Guard
    name: str
    prices: Prices | None
    marks: tuple[Finding, ...] = ()

    def used(self, prompt: int, output: int) -> None:
        usd = None if self.prices is None else prompt * self.prices.input + output * self.prices.output
        self.guard.settle(self.name, prompt + output, None if usd is None else round(usd * 1e6))

    def failed(self) -> None:
        """Surely nothing was paid for."""
        self.guard.refund(self.name)

    def lost(self) -> None:
        """What it cost is not known: what was expected stays charged."""
        self.guard.abandon(self.name)
