"""How large a prompt is, without a tokenizer: a bound that text cannot exceed, and what it likely is.

No tokenizer that works on bytes (all of OpenAI's, and those that fall back to bytes) makes more tokens than the text
has bytes; what the provider's template adds is allowed for. A prompt whose bound fits needs no counting, and most do.
It does NOT hold for images, audio and files (`opaque`), nor for a tokenizer that lengthens text before it cuts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from watchkeeper_guard.request import Size

NODE_TOKENS = 8
"""What a message, a part or a field may cost beside its text."""
TOOLS_TOKENS = 512
"""What a provider may say to a model about tools as such."""
LIKELY = 0.4
"""Tokens a byte that ordinary text does not exceed: English 0.22, Chinese 0.26 to 0.43, code 0.38 (measured)."""
MAX_NODES = 20_000
"""Of a prompt with more values the rest is not looked at: it counts as one more opaque part."""
PROMPT_KEYS = ("messages", "input", "prompt", "system", "instructions", "tools", "functions", "response_format", "text")
OPAQUE = frozenset(
    {
        *("image", "image_url", "input_image", "audio", "input_audio", "file", "input_file"),
        *("document", "video", "video_url", "redacted_thinking"),
    }
)
_LARGE = 1 << 18


def measure(body: Mapping[str, object]) -> Size:
    """The size of a request in any usual form: chat, responses, Anthropic's messages, completions, embeddings."""
    found, nodes, opaque = _walk(body)
    size = _bytes("".join(found))
    upper = size + NODE_TOKENS * nodes
    upper += TOOLS_TOKENS if body.get("tools") or body.get("functions") else 0
    return Size(
        upper=upper,
        estimate=min(upper, int(size * LIKELY) + nodes + 3),
        opaque=opaque + (nodes > MAX_NODES),
    )


def texts(body: Mapping[str, object]) -> Sequence[str]:
    """All text of a prompt, the names of its fields included."""
    return _walk(body)[0]


def output_of(body: Mapping[str, object]) -> int | None:
    """How many tokens of answer the caller asks for at most; None: it does not say."""
    given = [body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
    most = [each for each in given if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
    choices = body.get("n")
    times = choices if isinstance(choices, int) and choices > 0 else 1
    return max(most) * times if most else None


def _walk(body: Mapping[str, object]) -> tuple[list[str], int, int]:
    """All text, how many values there are, and how many of them are opaque. It is much of the hook's time: what is most
    often there, text in an object, is not put on the stack."""
    found: list[str] = []
    nodes = opaque = 0
    stack: list[object] = [[body[name] for name in PROMPT_KEYS if name in body]]
    while stack and nodes <= MAX_NODES:
        value = stack.pop()
        inside: Iterable[object]
        if isinstance(value, dict):
            if value.get("type") in OPAQUE:
                opaque += 1
                continue
            found += value
            inside = value.values()
        elif isinstance(value, list):
            inside = value
        else:
            found.append(str(value))
            continue
        for each in inside:
            nodes += 1
            if isinstance(each, str):
                found.append(each)
            elif each is not None:
                stack.append(each)
    return found, nodes, opaque


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    if len(text) > _LARGE:
        return 4 * len(text)  # looking costs more than being exact is worth; it can only be more
    return len(text.encode("utf-8", "surrogatepass"))
