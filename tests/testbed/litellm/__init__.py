"""The real LiteLLM proxy for tests: `build()` once per machine, then `with LiteLLM(...) as gateway`.

Prisma's query engine is the one piece that no package registry carries; engine.js serves Prisma's own WebAssembly
engine in its place. What this does NOT show is therefore only the speed of LiteLLM's database layer.
"""

from tests.testbed.litellm.admin import Admin, Key
from tests.testbed.litellm.install import VERSION, Installation, build, cached, missing_tools
from tests.testbed.litellm.proxy import BATCH_WRITE_S, LiteLLM, yaml_model

__all__ = [
    "BATCH_WRITE_S",
    "VERSION",
    "Admin",
    "Installation",
    "Key",
    "LiteLLM",
    "build",
    "cached",
    "missing_tools",
    "yaml_model",
]
