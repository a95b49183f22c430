"""The one table of names: what each dialect calls the things that Watchkeeper knows.

Read are the older OpenTelemetry GenAI names, those of 1.41, those of the genai repository, OpenInference, LiteLLM and
our own (`watchkeeper.*`). Within a row the first name that is present and usable wins. A value that cannot be what its
row says (a negative count, a raw key) is as good as absent: telemetry is a claim, not a contract. Whether what a span
claims is true is NOT decided here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

from pydantic import JsonValue

from watchkeeper.core.canonical import canonical
from watchkeeper.core.digest import sha256
from watchkeeper.core.signals import SpanOp, Usage
from watchkeeper.core.subjects import SubjectKind

Attributes: TypeAlias = Mapping[str, JsonValue]

MAX_NAME = 256
"""Bytes of a name as JSON has it: whoever names things must not decide how large our records become."""
MAX_TOKENS = 10**9
MAX_COST_USD = 10**6


class Name(Enum):
    """What is meant, and how it is called; the more specific or newer name first."""

    RUN = ("watchkeeper.run.id", "gen_ai.conversation.id", "session.id")
    KEY = ("watchkeeper.key.hash", "metadata.user_api_key_hash")
    DEPLOYMENT = ("watchkeeper.deployment.id", "litellm.deployment.id")
    SERVICE = ("service.name",)
    ENVIRONMENT = ("deployment.environment.name", "deployment.environment")
    AGENT = ("gen_ai.agent.name", "agent.name", "gen_ai.agent.id")
    PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
    MODEL = (
        "gen_ai.response.model",
        "llm.response.model_name",
        "litellm.provider.model",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
    )
    REQUESTED_MODEL = ("litellm.model_group", "gen_ai.request.model", "llm.request.model_name")
    CALL = ("gen_ai.response.id",)
    OPERATION = ("gen_ai.operation.name", "llm.request.type")
    KIND = ("openinference.span.kind",)
    TOOL = ("gen_ai.tool.name", "tool.name", "tool_call.function.name")
    ARGUMENTS = ("gen_ai.tool.call.arguments", "tool_call.function.arguments", "input.value")
    """Not `tool.parameters`: many instrumentations put the tool's schema there, and all its calls would look alike."""
    FINISH = ("gen_ai.response.finish_reasons", "llm.finish_reason")
    INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
    OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
    TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")
    CACHED = (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    )
    CACHE_WRITTEN = (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    )
    REASONING = (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    )
    COST = ("gen_ai.cost.total_cost", "llm.cost.total")
    ERROR_TYPE = ("error.type", "exception.type")
    ERROR_MESSAGE = ("error.message", "exception.message")
    LIMITER = ("error.rate_limit_category", "rate_limit_category")
    HTTP_STATUS = ("http.response.status_code", "http.status_code", "error.code")
    SAMPLED_SHARE = ("sampling.probability",)
    SAMPLED_ONE_IN = ("SampleRate",)
    TOKEN_TYPE = ("gen_ai.token.type",)
    MODALITY = ("gen_ai.token.modality",)
    INSTANCE = ("service.instance.id",)
    HIDDEN = ("hidden_params",)
    """LiteLLM's own notes on a call, as JSON; `model_id` in it is the deployment."""


KNOWN = frozenset(attribute for name in Name for attribute in name.value)

METRICS = {
    "gen_ai.client.token.usage": "tokens",
    "gen_ai.client.inference.usage.input_tokens": "tokens.input",
    "gen_ai.client.inference.usage.output_tokens": "tokens.output",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "tokens.cached",
    "gen_ai.client.inference.usage.cache_write.input_tokens": "tokens.cache_written",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "tokens.reasoning",
    "gen_ai.client.operation.duration": "duration",
}
"""Our names of the GenAI metrics. `tokens` becomes `tokens.input` or `tokens.output` by the point's token type. The
newest per-operation histograms are left out: the counters report the same tokens, and both would count twice."""

_HASH = re.compile(r"[0-9a-f]{64}")

_OPERATIONS = {
    SpanOp.AGENT: ("invoke_agent",),
    SpanOp.TOOL: ("execute_tool",),
    SpanOp.RETRIEVAL: ("retrieval", "search_memory"),
    SpanOp.WORKFLOW: ("invoke_workflow", "plan"),
    SpanOp.MODEL: (
        *("chat", "generate_content", "text_completion", "embeddings"),
        *("completion", "acompletion", "atext_completion", "embedding", "aembedding", "rerank", "arerank"),
        *("responses", "aresponses", "anthropic_messages"),
    ),
    # `fetch_response` names a model and a response, but nothing is inferred: counting it would count the call twice
    SpanOp.OTHER: ("create_agent", "fetch_response"),
}
_BY_OPERATION = {word: op for op, words in _OPERATIONS.items() for word in words}
_BY_KIND = {
    "LLM": SpanOp.MODEL,
    "EMBEDDING": SpanOp.MODEL,
    "AGENT": SpanOp.AGENT,
    "TOOL": SpanOp.TOOL,
    "RETRIEVER": SpanOp.RETRIEVAL,
    "RERANKER": SpanOp.RETRIEVAL,
    "CHAIN": SpanOp.WORKFLOW,
    "GUARDRAIL": SpanOp.OTHER,
    "EVALUATOR": SpanOp.OTHER,
    "PROMPT": SpanOp.OTHER,
}

_PROVIDERS = {
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


def clean(value: str) -> str:
    """A name that may be stored and shown anywhere: only what prints, and a digest in place of what is too long."""
    printable = value if value.isprintable() else "".join(char for char in value if char.isprintable())
    bare = printable.strip()
    body = bare.encode()
    return bare if len(body) + body.count(b'"') + body.count(b"\\") <= MAX_NAME else sha256(body)


def text(attributes: Attributes, name: Name) -> str:
    for attribute in name.value:
        value = attributes.get(attribute)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and (cleaned := clean(value)):
            return cleaned
    return ""


def number(attributes: Attributes, name: Name, most: float) -> float | None:
    """A finite number from 0 to `most`; some exporters write numbers as text."""
    for attribute in name.value:
        value = attributes.get(attribute)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            found = float(value)
        except (ValueError, OverflowError):
            continue
        if math.isfinite(found) and 0 <= found <= most:
            return found
    return None


def http_status(attributes: Attributes) -> int | None:
    found = number(attributes, Name.HTTP_STATUS, 599)
    return int(found) if found is not None and found >= 100 else None


def message(attributes: Attributes) -> str:
    """What an error says, to be judged and thrown away; never to be kept."""
    found = (attributes.get(attribute) for attribute in Name.ERROR_MESSAGE.value)
    return next((value for value in found if isinstance(value, str)), "")


def operation(attributes: Attributes) -> SpanOp:
    word = text(attributes, Name.OPERATION).lower()
    kind = text(attributes, Name.KIND).upper()
    if word in _BY_OPERATION:
        return _BY_OPERATION[word]
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    if text(attributes, Name.TOOL):
        return SpanOp.TOOL
    spends = any(number(attributes, name, MAX_TOKENS) is not None for name in (Name.INPUT, Name.OUTPUT, Name.TOTAL))
    names_model = text(attributes, Name.REQUESTED_MODEL) or text(attributes, Name.MODEL)
    return SpanOp.MODEL if names_model and (spends or text(attributes, Name.PROVIDER)) else SpanOp.OTHER


def usage(attributes: Attributes) -> Usage | None:
    """Tokens in our terms: input with cached, output with reasoning.

    All dialects mean it so on paper. Reports of Anthropic calls by older instrumentations leave cached tokens out of
    the input; that shows where the cached tokens alone exceed the input, or only with them the total is met.
    """
    given = {name: _count(attributes, name) for name in _USAGE}
    if given[Name.INPUT] is None and given[Name.OUTPUT] is None and given[Name.TOTAL] is None:
        return None
    output, reasoning = given[Name.OUTPUT] or 0, given[Name.REASONING] or 0
    if reasoning > output:
        output += reasoning
    total = given[Name.TOTAL]
    input_ = given[Name.INPUT]
    if input_ is None:
        input_ = max(0, (total or 0) - output)
    cached = given[Name.CACHED] or 0
    beside = cached + (given[Name.CACHE_WRITTEN] or 0)
    if beside and (beside > input_ or total == input_ + output + beside):
        input_ += beside
    return Usage(input=input_, output=output, cached=cached, reasoning=reasoning)


_USAGE = (Name.INPUT, Name.OUTPUT, Name.TOTAL, Name.CACHED, Name.CACHE_WRITTEN, Name.REASONING)


def _count(attributes: Attributes, name: Name) -> int | None:
    found = number(attributes, name, MAX_TOKENS)
    return None if found is None else int(found)


def provider(name: str) -> str:
    """The provider's name in OpenTelemetry's words, from any dialect's; an unknown one as it is, in lower case."""
    lower = clean(name).lower()
    return _PROVIDERS.get(lower, lower)


def key_hash(attributes: Attributes) -> str:
    return key(text(attributes, Name.KEY))


def key(found: str) -> str:
    """A gateway key's SHA-256 in lower-case hex. Anything else may be the key itself, or another secret, and is never
    taken: what names a subject goes into the ledger."""
    return found if _HASH.fullmatch(found) else ""


def subject_id(kind: SubjectKind, found: str) -> str:
    """What an outside text names: clean, and for a key nothing but its hash; empty where it names nothing."""
    return key(clean(found)) if kind is SubjectKind.KEY else clean(found)


def service(attributes: Attributes) -> str:
    """Empty for the SDKs' placeholder, which names nothing."""
    found = text(attributes, Name.SERVICE)
    return "" if found == "unknown_service" or found.startswith("unknown_service:") else found


def deployment(attributes: Attributes) -> str:
    found = text(attributes, Name.DEPLOYMENT)
    hidden = attributes.get(Name.HIDDEN.value[0])
    if found or not isinstance(hidden, str):
        return found
    notes = _parsed(hidden)
    return text({Name.DEPLOYMENT.value[0]: notes.get("model_id")}, Name.DEPLOYMENT) if isinstance(notes, dict) else ""


def finish_reason(attributes: Attributes) -> str:
    for attribute in Name.FINISH.value:
        value = attributes.get(attribute)
        if isinstance(value, str) and value.startswith("["):
            value = _parsed(value)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, str) and value:
            return clean(value)
    return ""


def tool_call_digest(tool: str, attributes: Attributes) -> str:
    """Tells equal calls of a tool; empty where the arguments were not recorded, for then equality cannot be known."""
    for attribute in Name.ARGUMENTS.value:
        value = attributes.get(attribute)
        if value is None or value == "":
            continue
        parsed = _parsed(value) if isinstance(value, str) else value
        try:
            return sha256(canonical([tool, parsed]))
        except (ValueError, RecursionError):  # no canonical form: then equality of the text must do
            return sha256(repr((tool, value)).encode("utf-8", "backslashreplace"))
    return ""


def _parsed(value: str) -> JsonValue:
    """JSON written as text, so that spacing and order of keys do not matter; other text as it is."""
    try:
        parsed: JsonValue = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed
