"""Counting a prompt exactly, beside the event loop, for the few calls that come near a limit.

Bounded: one thread, few waiting, a time limit, no further than the limit that is asked about, and texts that were
counted before (the history that an agent sends again) are not counted again. What cannot be counted is in doubt. It is
as exact as the tokenizer that it is given: for a model without one of its own that is an approximation.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from watchkeeper_guard.measure import texts

Tokenize = Callable[[str], int]

WAITING = 16
WITHIN_S = 5.0
CHUNK = 1 << 15
"""Longer text is counted in pieces, so that counting can stop; a cut may add a token or two."""
KNOWN = 4096
MESSAGE_TOKENS = 4


class UncountedError(Exception):
    """Too much to count, or the tokenizer failed."""


class Counter:
    """One for a process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watchkeeper-guard-count")
        self._waiting = 0
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def warm(self, tokenize: Tokenize) -> None:
        """Load the tokenizer before the first call needs it."""
        self._thread.submit(tokenize, "warm")

    async def count(self, body: Mapping[str, object], model: str, tokenize: Tokenize, to: int) -> int:
        """The tokens of a prompt, or any number above `to` when it has more."""
        if self._waiting >= WAITING:
            raise UncountedError("too many prompts wait to be counted")
        self._waiting += 1
        work = asyncio.get_running_loop().run_in_executor(self._thread, self.count_here, body, model, tokenize, to)
        work.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(work), WITHIN_S)
        except TimeoutError:
            raise UncountedError("counting takes too long") from None

    def _done(self, work: asyncio.Future[int]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()  # seen, also where nobody waits for it any more

    def count_here(self, body: Mapping[str, object], model: str, tokenize: Tokenize, to: int) -> int:
        """The same in the thread that asks."""
        messages = body.get("messages")
        total = 3 + (MESSAGE_TOKENS * len(messages) if isinstance(messages, list) else 0)
        try:
            for text in texts(body):
                for start in range(0, len(text), CHUNK):
                    total += self._piece(text[start : start + CHUNK], model, tokenize)
                    if total > to:
                        return total
        except Exception as error:
            raise UncountedError(f"{type(error).__name__} while counting") from error
        return total

    def _piece(self, text: str, model: str, tokenize: Tokenize) -> int:
        if len(text) < 256:
            return tokenize(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=model.encode()[:64]).digest()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tokenize(text)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return found
