"""The agent that the LangGraph server of the testbed serves, and who may call it. Runs in the server's own environment.

The agent loops: a step every `PACE_S`, kept in its checkpoint, until it is stopped. It calls no model.
"""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph_sdk import Auth

PACE_S = 0.05


class State(TypedDict):
    steps: int


async def work(state: State) -> State:
    await asyncio.sleep(PACE_S)
    return {"steps": state["steps"] + 1}


def again(state: State) -> str:
    return "work"


graph = StateGraph(State)
graph.add_node("work", work)
graph.add_edge(START, "work")
graph.add_conditional_edges("work", again, ["work", END])

agent = graph.compile()
auth = Auth()


@auth.authenticate
async def who(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    given = headers.get(b"x-api-key", b"").decode()
    if given not in (os.environ["TESTBED_KEY"], os.environ["TESTBED_READER"]):
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid API key")
    return {"identity": "operator" if given == os.environ["TESTBED_KEY"] else "reader"}


@auth.on
async def may(ctx: Auth.types.AuthContext, value: object) -> bool:
    """A reader may read."""
    return ctx.user.identity == "operator" or ctx.action in ("read", "search")
