"""The settings of the database, and of the roles that it knows us by."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, field_validator, model_validator

from watchkeeper.core.errors import ConfigError
from watchkeeper.core.model import Contract
from watchkeeper.store.engine import parsed_url

MIN_PASSWORD = 12


class DatabaseSettings(Contract):
    """Empty: SQLite in the data directory. On PostgreSQL three roles keep the record from whoever has the daemon's."""

    url: SecretStr | None = None
    """What the daemon works with."""
    owner_url: SecretStr | None = None
    """PostgreSQL: the role that owns the tables. It migrates and grants at the start, and is not used after that."""
    pruner_url: SecretStr | None = None
    """PostgreSQL: the role that may delete evidence and pruned entries. Needed when `url`'s role owns nothing."""

    @model_validator(mode="after")
    def _roles_of_one_server(self) -> Self:
        given = {"owner_url": self.owner_url, "pruner_url": self.pruner_url}
        named = [name for name, value in given.items() if value is not None]
        if named and (self.url is None or not self.url.get_secret_value().startswith("postgresql")):
            raise ValueError(f"{' and '.join(named)}: only PostgreSQL has roles, and url names no such server")
        if self.owner_url is not None and self.pruner_url is None:
            raise ValueError("owner_url without pruner_url: nobody could prune or erase evidence")
        return self

    def secrets(self) -> tuple[SecretStr, ...]:
        """The URLs, and the passwords in them. A short one may be a word that telemetry is full of; within a URL its
        place gives it away."""
        urls = [each for each in (self.url, self.owner_url, self.pruner_url) if each is not None]
        passwords = (parsed_url(each.get_secret_value()).password for each in urls)
        return (*urls, *(SecretStr(each) for each in passwords if each and len(each) >= MIN_PASSWORD))

    @field_validator("url", "owner_url", "pruner_url")
    @classmethod
    def _one_of_ours(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parsed_url(value.get_secret_value())
            except ConfigError as error:
                raise ValueError(f"{error.what}: {error.next_step}") from None
        return value
