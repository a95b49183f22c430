"""One report of a model call, and how the reports of one call become what is counted.

The gateway is believed about keys, deployments, outcome and cost; spans about agent, service and run. Where neither
rule decides, the report with the smallest (source, id) does, so that the order of arrival never matters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from pydantic import JsonValue

from watchkeeper.core.signals import Call, ErrorClass, Span, Usage
from watchkeeper.core.subjects import EdgeSource, SubjectKind
from watchkeeper.signals.state.instants import to_us
from watchkeeper.signals.state.refs import Ref
from watchkeeper.signals.state.tally import (
    CALLS,
    COST,
    ERROR,
    ESTIMATED,
    JUDGED,
    NANO,
    REFUSED,
    SEEN,
    SERVED,
    TOKENS,
    WEIGHT,
    Deltas,
    latency_bin,
)

Price = Callable[[str, Usage], float | None]
"""The cost of one call in US dollars by model and usage; None where the model's price is not known."""

ViewId = tuple[str, str]
"""(source, id) of the signal."""

_JUDGED = frozenset(error.value for error in ErrorClass if error.provider_fault)


class View(NamedTuple):
    gateway: bool
    identified: bool
    """Whether it carries the call id that all reports of the call share."""
    at: int
    started: int
    key: str
    service: str
    environment: str
    agent: str
    group: str
    model: str
    deployment: str
    provider: str
    gateway_name: str
    usage: tuple[int, int, int, int] | None
    cost: int
    """Nano-dollars; -1 where not known."""
    error: str
    weight: int
    run: str
    span: str
    """`trace/span` of a span."""


class Owner(NamedTuple):
    """What the rest of the run says about who makes its calls; empty where it is not of one voice."""

    agent: str = ""
    key: str = ""


class _Told(NamedTuple):
    """Which names of a call the gateway itself told; in the order of `_Names`."""

    agent: bool
    key: bool
    group: bool
    deployment: bool
    provider: bool


class Layout(NamedTuple):
    """Where a call is counted. The same for all calls of the same names, and shared between them."""

    subjects: tuple[tuple[Ref, bool, bool], ...]
    """Each subject, whether in its main ledger, and whether by the view that counts best for it."""
    edges: tuple[tuple[Ref, Ref, str], ...]


class Merged(NamedTuple):
    """One call, as it is added to the sums; subtracting the same takes it out again."""

    bucket: int
    deltas: Deltas
    unplaced: int
    """Its weight, if it failed by the provider's fault and names no deployment."""
    latency: int
    layout: Layout
    scope: tuple[str, str] | None
    """(environment, service), where known."""
    run: str
    key: str
    joined: bool
    """Whether the gateway's own record names the key."""


def view_row(view: View) -> JsonValue:
    return [[*value] if isinstance(value, tuple) else value for value in view]


def view_of_call(call: Call) -> View:
    usage = call.usage
    return View(
        gateway=True,
        identified=True,
        at=to_us(call.at),
        started=to_us(call.started),
        key=call.key,
        service=call.service,
        environment=call.environment,
        agent=call.agent,
        group=call.model_group or call.model,
        model=call.model,
        deployment=call.deployment,
        provider=call.provider,
        gateway_name=call.gateway,
        usage=(usage.input, usage.output, usage.cached, usage.reasoning),
        cost=-1 if call.cost_usd is None else round(call.cost_usd * NANO),
        error="" if call.error is None else call.error.value,
        weight=WEIGHT,
        run="",
        span="",
    )


def view_of_span(span: Span) -> View:
    usage = span.usage
    return View(
        gateway=False,
        identified=bool(span.call_id),
        at=to_us(span.at),
        started=to_us(span.started),
        key=span.key,
        service=span.service,
        environment=span.environment,
        agent=span.agent,
        group=span.requested_model or span.model,
        model=span.model or span.requested_model,
        deployment=span.deployment,
        provider=span.provider,
        gateway_name="",
        usage=None if usage is None else (usage.input, usage.output, usage.cached, usage.reasoning),
        cost=-1 if span.cost_usd is None else round(span.cost_usd * NANO),
        error="" if span.error is None else span.error.value,
        weight=round(WEIGHT / span.sampling_rate),
        run=span.run_id,
        span=f"{span.trace_id}/{span.span_id}",
    )


class Config(NamedTuple):
    """What the configuration says: the service of a key; whether a key is of the service or agent that claims it."""

    home: Callable[[str], str]
    agrees: Callable[[str, str, str], bool]


def merge(views: list[View], outer: list[View], bucket_us: int, price: Price, owner: Owner, config: Config) -> Merged:
    """`views` count, in order of belief; `outer` reports (an agent's wrapper of the same call) only fill in.

    The configured service of the call's key is used where no report names one.
    """
    every = views if not outer else [*views, *outer]
    first = views[0]
    spans = [view for view in every if not view.gateway]
    key = _first(every, "key") or owner.key
    agent = _first(spans, "agent") or first.agent or owner.agent
    claimed = _first(spans, "service") or _first(every, "service")
    service = claimed or config.home(key)
    environment = _first(spans, "environment") or _first(every, "environment")
    group, deployment, provider = _first(every, "group"), _first(every, "deployment"), _first(every, "provider")
    weight = WEIGHT if first.gateway else max(view.weight for view in views)
    usage = next((view.usage for view in every if view.usage is not None and (view.usage[0] or view.usage[1])), None)
    cost = next((view.cost for view in every if view.cost >= 0), -1)
    if cost < 0:
        cost = _priced(price, _first(every, "model"), usage)
    own = [view for view in views if view.gateway]
    told = _Told(*(bool(_first(own, name)) for name in _Told._fields))
    names = _Names(service, agent, key, group, deployment, provider, first.gateway_name)
    return Merged(
        bucket=first.at // bucket_us,
        deltas=_deltas(first.error, weight, 0 if usage is None else usage[0] + usage[1], cost),
        unplaced=weight if first.error in _JUDGED and not deployment else 0,
        latency=-1 if first.error else latency_bin(first.at - first.started),
        layout=_layout(names, told, first.gateway, first.identified, bool(spans), config.agrees(key, claimed, agent)),
        scope=(environment, service) if service else None,
        run=next((view.run for view in spans if view.run), ""),
        key=key,
        joined=told.key,
    )


def _first(views: list[View], name: str) -> str:
    for view in views:
        value: str = getattr(view, name)
        if value:
            return value
    return ""


def _priced(price: Price, model: str, usage: tuple[int, int, int, int] | None) -> int:
    if usage is None or not model:
        return 0
    input_, output, cached, reasoning = usage
    dollars = price(model, Usage(input=input_, output=output, cached=cached, reasoning=reasoning))
    return 0 if dollars is None else round(dollars * NANO)


def _deltas(error: str, weight: int, tokens: int, cost: int) -> Deltas:
    deltas = [(SEEN, 1), (CALLS, weight)]
    if not error:
        deltas += [(SERVED, weight), (JUDGED, 1)]
    else:
        deltas.append((ERROR[error], weight))
        if error in _JUDGED:
            deltas.append((JUDGED, 1))
        elif error != ErrorClass.CLIENT:
            deltas.append((REFUSED, 1))
    if tokens:
        deltas.append((TOKENS, tokens * weight // WEIGHT))
    if cost:
        deltas.append((COST, cost * weight // WEIGHT))
    if weight != WEIGHT:
        deltas.append((ESTIMATED, 1))
    return tuple(deltas)


class _Names(NamedTuple):
    service: str
    agent: str
    key: str
    group: str
    deployment: str
    provider: str
    gateway: str


_KINDS = tuple(
    kind.value
    for kind in (
        SubjectKind.SERVICE,
        SubjectKind.AGENT,
        SubjectKind.KEY,
        SubjectKind.MODEL,
        SubjectKind.DEPLOYMENT,
        SubjectKind.PROVIDER,
        SubjectKind.GATEWAY,
    )
)
"""The kinds of `_Names`, in its order: each acts through or depends on those after it, but for the gateway."""


@lru_cache(maxsize=20_000)
def _layout(names: _Names, told: _Told, gateway: bool, identified: bool, spanned: bool, agreed: bool) -> Layout:
    """Neighbours in the chain service → agent → key → model → deployment → provider are linked where both are known.

    The call id joins who called, as its span tells, to what the gateway says was called; a name that only the span
    gives stays a claim. What may be acted on, a gateway that reports it at all reports in every call: there a claim
    adds nothing, but for a key that configuration gives to whoever claims it.
    """
    agent = SubjectKind.AGENT.value
    by_gateway = dict(zip(_KINDS, (gateway, *told, gateway), strict=True))
    refs = [(kind, name) for kind, name in zip(_KINDS, names, strict=True) if name]
    chain = [ref for ref in refs if ref[0] != SubjectKind.GATEWAY]
    edges = []
    for source, target in pairwise(chain):
        joined = by_gateway[target[0]] and (by_gateway[source[0]] or source[0] == agent)
        edges.append((source, target, EdgeSource.CALL_ID.value if joined else EdgeSource.SPAN.value))

    main = dict.fromkeys(_KINDS, identified) | {
        agent: spanned,
        SubjectKind.KEY.value: gateway or (identified and agreed),
        SubjectKind.DEPLOYMENT.value: gateway,
    }
    return Layout(
        subjects=tuple((ref, main[ref[0]], spanned if ref[0] == agent else gateway) for ref in refs),
        edges=tuple(edges),
    )
