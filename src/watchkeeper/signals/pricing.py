"""What a call costs by the public price lists, where neither gateway nor span reports a cost.

Prices are those known when `genai-prices` was released, without anybody's discounts: an estimate, NOT a bill.
"""

from __future__ import annotations

from datetime import UTC, datetime

from watchkeeper.core.signals import Usage

AS_OF = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""All calls are priced as of one instant: some prices depend on date or hour, and replay must give equal sums."""


def price(model: str, usage: Usage) -> float | None:
    """US dollars; None where the model or its price is not known. A `provider/model` name is tried without prefix."""
    if not model:
        return None
    # imported at the first price: its tables take a third of a second that no other command should pay
    from genai_prices import Usage as Tokens  # noqa: PLC0415
    from genai_prices import calc_price  # noqa: PLC0415

    tokens = Tokens(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=min(usage.cached, usage.input),
    )
    for name in dict.fromkeys((model, model.rpartition("/")[2])):
        try:
            return float(calc_price(tokens, name, genai_request_timestamp=AS_OF).total_price)
        except LookupError:
            continue
    return None
