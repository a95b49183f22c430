"""A program for the inside of a pod: one action through the adapter that the pod's own settings name, with its own
ServiceAccount. Given to Python on standard input, for the image holds no tests.

`act ACTION` makes the dry run, sends its change and looks; `undo CHANGE` sends the inverse and looks; `look CHANGE`
only looks. It prints one JSON document. No claim and no policy stand before it: those are the executor's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from watchkeeper.adapters.contract import Adapter
from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.recorder import CallRecorder, under
from watchkeeper.core.actions import Action, Change
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.ids import ActionKey
from watchkeeper.daemon.settings import load
from watchkeeper.daemon.targets import adapters_of
from watchkeeper.ledger.evidence.redaction import Redactor

KEY = ActionKey("pln_inside/0/0")


async def main(step: str, document: str) -> dict[str, Any]:
    clock = SystemClock()
    settings = load(Path(os.environ["WATCHKEEPER_CONFIG"]), os.environ)
    adapters = adapters_of(settings, CallRecorder(KitSink(), Redactor(), clock), clock)
    try:
        with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
            if step == "act":
                action = Action.model_validate_json(document)
                adapter = adapters.get(action.target.adapter)
                return await send(adapter, await adapter.dry_run(action))
            change = Change.model_validate_json(document)
            adapter = adapters.get(change.target.adapter)
            return await (send(adapter, change.inverse()) if step == "undo" else look(adapter, change))
    except WatchkeeperError as error:
        return {"error": type(error).__name__, "what": error.what, "retryable": getattr(error, "retryable", None)}
    finally:
        await adapters.close()


async def send(adapter: Adapter, change: Change) -> dict[str, Any]:
    """Under a claim: what came of it, and what is seen right after."""
    result = await adapter.apply(change, KEY, SystemClock().now() + timedelta(seconds=10))
    return {"effect": result.effect, "code": result.code, **await look(adapter, change)}


async def look(adapter: Adapter, change: Change) -> dict[str, Any]:
    seen = await adapter.observe(change, KEY)
    return {"change": change.model_dump(mode="json"), "happened": seen.happened, "restored": seen.restored}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
