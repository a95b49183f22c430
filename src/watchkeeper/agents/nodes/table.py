"""Which function is which node of the graph, bound to one incident's watcher."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watchkeeper.agents.graph import Node
from watchkeeper.agents.nodes import act, consent, end, keep, propose, understand, verify
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher

NODES: dict[str, Callable[[Watcher, WatchState], Awaitable[WatchState]]] = {
    "triage": understand.triage,
    "diagnose": understand.diagnose,
    "propose": propose.propose,
    "decide": consent.decide,
    "approve": consent.approve,
    "execute": act.execute,
    "verify": verify.verify,
    "hold": keep.hold,
    "release": keep.release,
    "undo": act.undo,
    "escalate": end.escalate,
    "watch": end.watch_on,
    "close": end.close,
}


def bind(watcher: Watcher) -> dict[str, Node]:
    return {name: _bound(name, watcher) for name in NODES}


def _bound(name: str, watcher: Watcher) -> Node:
    async def node(state: WatchState) -> WatchState:
        return await NODES[name](watcher, state)

    return node
