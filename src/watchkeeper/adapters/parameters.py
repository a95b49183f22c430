"""The typed parameters of an intent: what they ask for, field by field. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from watchkeeper.core.model import Contract, Scalar

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Parameters(Contract):
    """Only what an action names is set; an explicit null means "unlimited" where the type allows it."""

    @model_validator(mode="after")
    def _something(self) -> Parameters:
        if not self.model_fields_set and type(self).model_fields:
            raise ValueError("at least one field is needed")
        return self

    def wanted(self) -> dict[str, Scalar]:
        """Field path → value, of what was named."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def after(self, before: Scalar, wanted: Scalar) -> Scalar:
        """What a field that holds `before` is set to when `wanted` is asked for."""
        return wanted


class Nothing(Parameters):
    """An intent that needs no more than its target."""


class Scaling(Parameters):
    """To so many, or by so many more, but not beyond `at_most`. A target narrows the numbers to what it takes."""

    replicas: Count | None = None
    add: Annotated[int, Field(ge=1, le=100)] | None = None
    at_most: Count = 2**31 - 1

    @model_validator(mode="after")
    def _something(self) -> Scaling:
        if (self.replicas is None) == (self.add is None):
            raise ValueError("give either `replicas` or `add`")
        return self

    def wanted(self) -> dict[str, Scalar]:
        return {"replicas": self.replicas}

    def beyond(self, now: Scalar) -> int:
        """How many it comes to; never fewer than there are now."""
        if self.replicas is not None:
            return self.replicas
        there = now if isinstance(now, int) else 0
        return max(there, min(there + (self.add or 0), self.at_most))


class Cap(Parameters):
    """Never loosens: the lower of what is there and what is wanted."""

    def after(self, before: Scalar, wanted: Scalar) -> Scalar:
        if isinstance(before, int | float) and isinstance(wanted, int | float):
            return min(before, wanted)
        return wanted
