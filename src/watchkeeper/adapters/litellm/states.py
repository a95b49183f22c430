"""Turns what the gateway says about one target into a TargetState: its fields, what can be managed, how many there are.

`look` reads as little as possible, for the moment right before a send.
"""

from __future__ import annotations

from watchkeeper.adapters.litellm.fields import (
    DEPLOYMENT,
    KEY,
    MODEL_GROUP,
    TEAM,
    TOKEN_HASH,
    JsonObject,
    fallbacks_field,
    key_fields,
    team_fields,
)
from watchkeeper.adapters.litellm.inventory import Deployment, GatewayReader
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import FieldState, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError


class StateReader:
    def __init__(self, reader: GatewayReader, clock: Clock) -> None:
        self._reader, self._clock = reader, clock

    async def look(self, target: Target) -> TargetState:
        match target.kind:
            case "key":
                return await self._key(target)
            case "team":
                return await self._team(target)
            case "deployment":
                return self._deployment(target, await self._reader.deployment(target.id))
            case "model_group":
                return await self._group(target)
        kinds = ", ".join((KEY, TEAM, DEPLOYMENT, MODEL_GROUP))
        raise InputError(
            f"{target.adapter} has no target kind {target.kind!r}",
            cause=f"it knows {kinds}",
            next_step="correct the runbook: watchkeeper runbook lint",
        )

    async def _key(self, target: Target) -> TargetState:
        if not TOKEN_HASH.fullmatch(target.id):
            raise InputError(
                "a key is named by the hash of its token, 64 hex digits",
                cause="the id is a key's alias, or the key itself",
                next_step="use the `token` of the gateway's key list",
            )
        try:
            info = await self._reader.key(target.id)
        except HttpError as error:
            await self._only_without_database(error)
            return self._state(target, False, key_fields({}, "no_database"))
        return self._row(target, info, () if info is None else key_fields(info))

    async def _team(self, target: Target) -> TargetState:
        try:
            info = await self._reader.team(target.id)
        except HttpError as error:
            await self._only_without_database(error)
            return self._state(target, False, team_fields({}, "no_database"))
        return self._row(target, info, () if info is None else team_fields(info))

    async def _only_without_database(self, error: HttpError) -> None:
        """A gateway without a database answers 500 to every question about keys; anything else stays an error."""
        if error.status != 500 or await self._reader.has_database():
            raise error

    def _deployment(self, target: Target, found: Deployment | None) -> TargetState:
        if found is None:
            return self._state(target, False, ())
        field = FieldState(path="weight", value=found.weight, manageable=found.manageable, why=found.why)
        return self._state(target, True, (field,))

    async def _group(self, target: Target) -> TargetState:
        if "/" in target.id:
            return self._state(target, True, (fallbacks_field((), "slash_in_name"),))
        if target.id not in {d.group for d in await self._reader.deployments()}:
            return self._state(target, False, ())
        why = ""
        if not await self._reader.has_database():
            why = "no_database"
        elif await self._reader.setting_in_yaml("fallbacks"):
            why = "setting_in_yaml"
        return self._state(target, True, (fallbacks_field(await self._reader.fallbacks(target.id), why),))

    def _row(self, target: Target, info: JsonObject | None, fields: tuple[FieldState, ...]) -> TargetState:
        return self._state(target, info is not None, fields)

    def _state(self, target: Target, exists: bool, fields: tuple[FieldState, ...]) -> TargetState:
        return TargetState(target=target, exists=exists, at=self._clock.now(), fields=fields)

    async def population(self, target: Target) -> int:
        match target.kind:
            case "key":
                return await self._reader.count_keys()
            case "team":
                return await self._reader.count_teams()
        deployments = await self._reader.deployments()
        if target.kind == DEPLOYMENT:
            return len(deployments)
        return len({d.group for d in deployments})
