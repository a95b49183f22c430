"""Run by the LiteLLM installation's own Python: the guard's bound beside what LiteLLM's tokenizers count.

Ends with an error at the first prompt that has more tokens than the bound.
"""

from __future__ import annotations

import base64
import os
import secrets

TEXTS = (
    "The quick brown fox. ",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f",
    "!@#$%^&*()_+{}|:<>?",
    " \n\t \r\n",
    "<|endoftext|>",
    "def f(x):\n    return {k: v for k, v in x.items()}\n",
    secrets.token_hex(20),
    base64.b64encode(os.urandom(30)).decode(),
)
MODELS = ("gpt-4o", "gpt-4", "claude-sonnet-4-20250514", "unknown/model")
PROPERTIES = {"a": {"type": "string", "description": "x", "enum": ["b", "c"]}}
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d" * 50,
        "parameters": {"type": "object", "properties": PROPERTIES, "required": ["a"]},
    },
}


def main() -> None:
    from litellm import token_counter

    from watchkeeper_guard.measure import measure

    for model in MODELS:
        for text in TEXTS:
            for times in (1, 300):
                body = {"messages": [{"role": "user", "content": text * times}] * 3, "tools": [TOOL]}
                counted, size = token_counter(model=model, **body), measure(body)
                assert counted <= size.upper, (model, text, times, counted, size)


if __name__ == "__main__":
    main()
