"""The guard for LangGraph and LangChain: a callback that is asked before each call of a chat model.

    graph.invoke(state, {"callbacks": [callback(Local.from_environment())], "configurable": {"thread_id": "run-1"}})

A refusal is raised as RefusedError out of the model's call, in the node that made it. The run is `watchkeeper_run` of
the config's metadata, else the thread; the agent `watchkeeper_agent`, else the node. A model whose callbacks are taken
away is NOT guarded.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from watchkeeper_guard.local import Caller, Local, Ticket

MAX_UNDER_WAY = 10_000
_ROLES = {"human": "user", "ai": "assistant"}


def callback(local: Local) -> Any:
    """A `BaseCallbackHandler`. One serves any number of graphs and threads."""
    from langchain_core.callbacks import BaseCallbackHandler  # noqa: PLC0415  # only who uses it has it

    class GuardCallback(BaseCallbackHandler):
        raise_error = True  # otherwise LangChain logs a refusal and goes on
        run_inline = True

        def __init__(self) -> None:
            self._under_way: dict[UUID, Ticket] = {}

        def on_chat_model_start(
            self,
            serialized: dict[str, Any],
            messages: list[list[Any]],
            *,
            run_id: UUID,
            metadata: dict[str, Any] | None = None,
            **rest: Any,
        ) -> None:
            given = rest.get("invocation_params") or {}
            for each in messages:
                ticket = local.enter(_as_request(each, given), _caller(metadata or {}))
                if len(self._under_way) < MAX_UNDER_WAY:
                    self._under_way[run_id] = ticket

        def on_llm_end(self, response: Any, *, run_id: UUID, **rest: Any) -> None:
            ticket, used = self._under_way.pop(run_id, None), _usage(response)
            if ticket is not None and used is not None:
                ticket.used(*used)
            elif ticket is not None:
                ticket.lost()

        def on_llm_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
            ticket = self._under_way.pop(run_id, None)
            if ticket is not None:
                ticket.lost()

    return GuardCallback()


def _caller(metadata: dict[str, Any]) -> Caller:
    return Caller(
        run=str(metadata.get("watchkeeper_run") or metadata.get("thread_id") or ""),
        agent=str(metadata.get("watchkeeper_agent") or metadata.get("langgraph_node") or ""),
    )


def _as_request(messages: list[Any], given: dict[str, Any]) -> dict[str, object]:
    """The form that a chat API takes, as far as the guard looks at it."""
    body: dict[str, object] = {"messages": [_message(each) for each in messages]}
    body["model"] = str(given.get("model") or given.get("model_name") or "")
    body |= {name: given[name] for name in ("tools", "max_tokens", "max_completion_tokens", "n") if name in given}
    return body


def _message(message: Any) -> dict[str, object]:
    found: dict[str, object] = {"role": _ROLES.get(message.type, message.type), "content": message.content}
    if calls := getattr(message, "tool_calls", None):
        found["tool_calls"] = [{"function": {"name": each["name"], "arguments": each["args"]}} for each in calls]
    return found


def _usage(response: Any) -> tuple[int, int] | None:
    """Prompt and answer tokens, where the model told them."""
    made = [each for listed in response.generations for each in listed]
    known = [used for each in made if (used := getattr(getattr(each, "message", None), "usage_metadata", None))]
    if not known:
        return None
    return sum(each["input_tokens"] for each in known), sum(each["output_tokens"] for each in known)
