"""The state machine of one incident, in LangGraph.

triage → diagnose → propose → decide → approve → execute → verify → hold → release | undo | escalate → close, with timed
waits between. Each node reads recorded steps and names its successor; the edges here say which successors are legal.
LangGraph orders neither pending writes nor two writers on one thread: that is what `Steps`, leases and claims are for.
"""

from __future__ import annotations

from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from watchkeeper.agents.state import WatchState

DUE = "due"
"""What resumes a wait whose time has come; anything else is the id of a person's order."""


class Node(Protocol):
    async def __call__(self, state: WatchState) -> WatchState: ...


EDGES: dict[str, tuple[str, ...]] = {
    "triage": ("diagnose", "close"),
    "diagnose": ("propose", "escalate"),
    "propose": ("decide", "escalate"),
    "decide": ("execute", "approve", "escalate"),
    "approve": ("approve", "propose", "execute", "escalate", "undo"),
    "execute": ("verify", "undo", "escalate", "close", "diagnose", "hold", "wait"),
    "verify": ("verify", "wait", "hold", "undo"),
    "hold": ("wait", "release", "undo", "escalate", "close"),
    "release": ("wait", "close", "decide", "escalate"),
    "undo": ("escalate", "wait"),
    "escalate": ("watch",),
    "watch": ("wait", "close"),
    "wait": ("execute", "verify", "hold", "release", "undo", "watch"),
    "close": (),
}


async def _wait(state: WatchState) -> WatchState:
    """Sleeps, durably. The runner resumes it when the time has come, or earlier when a person orders the undo."""
    answer = interrupt({"until": state["wait_until"], "for": state["after"]})
    return ordered(answer) or {"next": state["after"]}


def ordered(answer: str) -> WatchState | None:
    """Where a person's order leads; None for an answer that only says that it is time."""
    return None if answer == DUE else {"next": "undo", "order": answer, "undos": 0, "extra": 0}


def build(nodes: dict[str, Node], saver: BaseCheckpointSaver[str]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Compiles the graph; `nodes` must name every node but `wait`, which is ours."""
    graph = StateGraph(WatchState)
    for name, successors in EDGES.items():
        graph.add_node(name, _wait if name == "wait" else nodes[name])
        if successors:
            graph.add_conditional_edges(name, _next, {successor: successor for successor in successors})
        else:
            graph.add_edge(name, END)
    graph.add_edge(START, "triage")
    return graph.compile(checkpointer=saver)


def _next(state: WatchState) -> str:
    return state["next"]


def thread(incident: str) -> RunnableConfig:
    return {"configurable": {"thread_id": incident}, "recursion_limit": 60}
