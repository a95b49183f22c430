"""`decide`: rules, what is known of the run, and one call, to a verdict. Pure: no clock, no I/O, nothing changed.

All rules about the call are looked at, in no order: what is refused does not depend on how they are listed. A number
of tokens is asked for (`count_to`) only where the answer hangs on it. It does NOT know what a call will cost, only what
it is expected to; what was wrong with that is corrected afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from watchkeeper_guard.request import Request
from watchkeeper_guard.rules import (
    Action,
    Budget,
    Context,
    Doubt,
    Hold,
    Iterations,
    Loop,
    Mode,
    Per,
    Rule,
)
from watchkeeper_guard.runs import RunState

ASSUMED_OUTPUT = Budget.assume_output


class Weight(IntEnum):
    """Which refusal is told when several rules refuse: the first of these."""

    HOLD = 0
    CONTEXT = 1
    LOOP = 2
    ITERATIONS = 3
    BUDGET = 4
    DOUBT = 5


@dataclass(frozen=True)
class Finding:
    """What one rule says against a call. `doubt`: it could not tell."""

    rule: str
    code: str
    status: int
    message: str
    weight: Weight
    observed: int = 0
    limit: int = 0
    doubt: bool = False

    @property
    def order(self) -> tuple[int, str]:
        return self.weight, self.rule


@dataclass(frozen=True)
class Verdict:
    """`refusal` None: the call goes on. `audited` would have refused, `doubts` could not tell and let it through,
    `marks` are told in the answer's header. `count_to` not None: nothing is decided before the prompt is counted."""

    refusal: Finding | None = None
    audited: tuple[Finding, ...] = ()
    doubts: tuple[Finding, ...] = ()
    marks: tuple[Finding, ...] = ()
    tokens: int = 0
    micro_usd: int = 0
    count_to: int | None = None

    @property
    def allowed(self) -> bool:
        return self.refusal is None and self.count_to is None


ALLOWED = Verdict()


@dataclass(frozen=True)
class _Count:
    """A rule that hangs on the number of tokens, up to this one."""

    to: int


_Found = Finding | _Count | None


def decide(rules: Sequence[Rule], run: RunState | None, request: Request) -> Verdict:
    """`rules` are those about this call; `run` None: the call names none, or what is known of it could not be read."""
    tokens = request.size.likely + _output(request, _assumed(rules))
    micro_usd = _price(request, _assumed(rules)) or 0
    found = [(rule, each) for rule in rules for each in _look(rule, run, request)]
    enforced = [each for rule, each in found if isinstance(each, Finding) and _refuses(rule, each)]
    if not enforced and (counts := [each.to for _, each in found if isinstance(each, _Count)]):
        return Verdict(count_to=max(counts))
    findings = [(rule, each) for rule, each in found if isinstance(each, Finding)]
    refusal = min(enforced, key=lambda each: each.order, default=None)
    return Verdict(
        refusal=refusal,
        audited=_sorted(each for rule, each in findings if rule.mode is Mode.AUDIT and not _marks(rule, each)),
        doubts=_sorted(each for rule, each in findings if rule.mode is Mode.ENFORCE and _lets_through(rule, each)),
        marks=_sorted(each for rule, each in findings if _marks(rule, each)),
        tokens=tokens,
        micro_usd=micro_usd,
    )


def _refuses(rule: Rule, found: Finding) -> bool:
    if rule.mode is Mode.AUDIT or _marks(rule, found):
        return False
    return not found.doubt or rule.on_doubt is Doubt.CLOSED


def _lets_through(rule: Rule, found: Finding) -> bool:
    return found.doubt and rule.on_doubt is Doubt.OPEN and not _marks(rule, found)


def _marks(rule: Rule, found: Finding) -> bool:
    return isinstance(rule.limits, Context) and rule.limits.action is Action.MARK and not found.doubt


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda each: each.order))


def _look(rule: Rule, run: RunState | None, request: Request) -> list[_Found]:
    limits = rule.limits
    if isinstance(limits, Hold):
        return [_held(rule, limits)]
    if isinstance(limits, Context):
        return [_context(rule, limits, request)]
    if rule.needs_run and run is None:
        return [_no_run(rule, request)]
    if isinstance(limits, Budget):
        return _budget(rule, limits, run, request)
    assert run is not None
    if isinstance(limits, Iterations):
        return [_iterations(rule, limits, run)]
    return [_loop(rule, limits, run, request)]


def _held(rule: Rule, limits: Hold) -> Finding:
    what, name = next(rule.match.exact())
    said = f"{what} {name!r} is {limits.state} by the rule {rule.id!r}"
    return Finding(rule.id, f"{what}_{limits.state}", 403, said, Weight.HOLD)


def _context(rule: Rule, limits: Context, request: Request) -> _Found:
    window = request.window if limits.max_input_tokens is None else limits.max_input_tokens
    if window is None:
        return _doubt(rule, "window_unknown", f"the context window of model {request.model!r} is not known")
    room = max(0, window - limits.reserve_output)
    size = request.size
    if size.counted is None and size.upper > room and size.can_count:
        return _Count(room)
    if size.counted is not None and size.counted > room:
        said = f"the prompt has at least {size.counted} tokens, and {room} fit"
        return Finding(rule.id, "context_over_limit", 400, said, Weight.CONTEXT, size.counted, room)
    if size.counted is None and size.upper > room:
        return _uncounted(rule)
    if size.opaque:
        return _doubt(rule, "prompt_opaque", f"the prompt has {size.opaque} parts whose tokens are not counted here")
    return None


def _no_run(rule: Rule, request: Request) -> Finding:
    if request.run is None:
        return _doubt(rule, "run_unknown", "the call does not say which run it belongs to")
    return _doubt(rule, "run_state_unknown", "what is known of the run could not be read in time", status=503)


def _iterations(rule: Rule, limits: Iterations, run: RunState) -> _Found:
    if run.calls < limits.max_calls:
        return None
    said = f"the run has made its {limits.max_calls} calls"
    return Finding(rule.id, "run_calls_exceeded", 403, said, Weight.ITERATIONS, run.calls + 1, limits.max_calls)


def _loop(rule: Rule, limits: Loop, run: RunState, request: Request) -> _Found:
    if not request.fingerprint:
        return None
    repeats = run.history[-limits.window :].count(request.fingerprint)
    if repeats >= limits.max_repeats:
        said = f"the run made the same call {repeats} times in its last {min(limits.window, len(run.history))}"
        return Finding(rule.id, "run_repeats_itself", 403, said, Weight.LOOP, repeats + 1, limits.max_repeats)
    calls = (*run.history, request.fingerprint)
    for length in range(2, limits.max_cycle + 1):
        whole = length * limits.max_cycle_repeats
        tail = calls[-whole - 1 :]
        if len(tail) > whole and all(tail[n] == tail[n + length] for n in range(len(tail) - length)):
            said = f"the run made the same {length} calls in turn {limits.max_cycle_repeats} times"
            return Finding(rule.id, "run_in_cycle", 403, said, Weight.LOOP, length, limits.max_cycle_repeats)
    return None


def _budget(rule: Rule, limits: Budget, run: RunState | None, request: Request) -> list[_Found]:
    spent = run if limits.per is Per.RUN and run is not None else RunState()
    found: list[_Found] = []
    if limits.max_tokens is not None:
        found.append(_tokens(rule, limits, limits.max_tokens, spent.tokens, request))
    if limits.max_micro_usd is not None:
        found.append(_money(rule, limits, limits.max_micro_usd, spent.micro_usd, request))
    return found


def _tokens(rule: Rule, limits: Budget, most: int, spent: int, request: Request) -> _Found:
    size, room = request.size, most - spent - _output(request, limits.assume_output)
    # the bound of one call is held by what surely is, the budget of a run by what likely is
    prompt = size.upper if limits.per is Per.REQUEST and size.counted is None else size.likely
    if prompt <= room:
        return _seen_whole(rule, request)
    if size.counted is None and room > 0:
        return _Count(room) if size.can_count else _uncounted(rule)
    needed = spent + size.likely + _output(request, limits.assume_output)
    return _over(rule, limits, f"{needed} tokens would be used, and {most} are allowed", needed, most)


def _money(rule: Rule, limits: Budget, most: int, spent: int, request: Request) -> _Found:
    price = _price(request, limits.assume_output)
    if price is None:
        return _doubt(rule, "price_unknown", f"the price of model {request.model!r} is not known")
    if spent + price <= most:
        return _seen_whole(rule, request)
    if request.size.counted is None and spent < most:
        return _Count(request.size.upper) if request.size.can_count else _uncounted(rule)
    said = f"{(spent + price) / 1e6:.6f} USD would be spent, and {most / 1e6:.6f} are allowed"
    return _over(rule, limits, said, spent + price, most)


def _uncounted(rule: Rule) -> Finding:
    return _doubt(rule, "prompt_uncounted", "the prompt may be too long, and could not be counted")


def _seen_whole(rule: Rule, request: Request) -> _Found:
    if not request.size.opaque:
        return None
    said = f"the prompt has {request.size.opaque} parts whose tokens are not counted here"
    return _doubt(rule, "prompt_opaque", said)


def _over(rule: Rule, limits: Budget, said: str, observed: int, limit: int) -> Finding:
    status = 403 if limits.per is Per.RUN else 400
    of = "the run" if limits.per is Per.RUN else "the call"
    return Finding(rule.id, f"{limits.per}_budget_exceeded", status, f"{of}: {said}", Weight.BUDGET, observed, limit)


def _doubt(rule: Rule, code: str, said: str, status: int = 400) -> Finding:
    return Finding(rule.id, code, status, said, Weight.DOUBT, doubt=True)


def _assumed(rules: Sequence[Rule]) -> int:
    """What an answer without a bound is charged: the most that any budget assumes."""
    given = [rule.limits.assume_output for rule in rules if isinstance(rule.limits, Budget)]
    return max(given, default=ASSUMED_OUTPUT)


def _output(request: Request, assumed: int) -> int:
    return assumed if request.output is None else request.output


def _price(request: Request, assumed: int) -> int | None:
    if request.prices is None:
        return None
    usd = request.size.likely * request.prices.input + _output(request, assumed) * request.prices.output
    # the least part of a micro-dollar is one: many small calls are not free
    return -int(-usd * 1e6 // 1) if usd > 0 else 0
