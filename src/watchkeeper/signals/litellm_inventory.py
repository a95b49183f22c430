"""What a LiteLLM gateway says it has: keys and their teams, model groups, deployments and their providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from watchkeeper.core.subjects import Edge, EdgeSource, Subject, SubjectKind
from watchkeeper.signals.fetch import Endpoint
from watchkeeper.signals.litellm_rows import Text, key_of, provider_of
from watchkeeper.signals.names import clean

MAX_REPLY = 32 << 20
"""One deployment is some 6 kB in `/model/info`."""

KEYS_PER_PAGE = 100
MAX_KEY_PAGES = 100


Named = Annotated[Text, AfterValidator(clean)]


class _Params(BaseModel):
    model: Text = ""
    api_base: Text = ""


class _Info(BaseModel):
    id: Named = ""
    litellm_provider: Text = ""


class _Model(BaseModel):
    model_name: Named = ""
    litellm_params: _Params = _Params()
    model_info: _Info = _Info()


class _Models(BaseModel):
    data: list[_Model]


class _Key(BaseModel):
    token: Text = ""
    team_id: Named = ""


class _Keys(BaseModel):
    keys: list[_Key]
    total_pages: int = Field(default=1, ge=0)


@dataclass(frozen=True)
class Inventory:
    """`providers` and `upstream_names` are by deployment."""

    edges: tuple[Edge, ...] = ()
    providers: Mapping[str, str] = field(default_factory=dict)
    upstream_names: Mapping[str, str] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()


async def take(endpoint: Endpoint, *, database: bool) -> Inventory:
    """Asks for models, and for keys where there is a database. Raises UnavailableError or InputError."""
    models = [model for model in (await _models(endpoint)) if model.model_info.id]
    keys = [key async for key in _keys(endpoint)] if database else []
    providers = {model.model_info.id: _provider(model) for model in models}
    return Inventory(
        edges=tuple(dict.fromkeys([*_model_edges(models, providers), *_key_edges(keys)])),
        providers={deployment: provider for deployment, provider in providers.items() if provider},
        upstream_names={model.model_info.id: _upstream_name(model) for model in models},
        groups=frozenset(model.model_name for model in models),
    )


async def _models(endpoint: Endpoint) -> list[_Model]:
    return (await endpoint.json("/model/info", _Models, limit=MAX_REPLY)).data


async def _keys(endpoint: Endpoint) -> AsyncIterator[_Key]:
    page, pages = 1, 1
    while page <= min(pages, MAX_KEY_PAGES):
        asked = {"return_full_object": "true", "size": str(KEYS_PER_PAGE), "page": str(page)}
        reply = await endpoint.json("/key/list", _Keys, asked)
        for key in reply.keys:
            yield key
        page, pages = page + 1, reply.total_pages


def _model_edges(models: list[_Model], providers: Mapping[str, str]) -> Iterator[Edge]:
    for model in models:
        deployment = Subject(kind=SubjectKind.DEPLOYMENT, id=model.model_info.id)
        if model.model_name:
            yield _edge(Subject(kind=SubjectKind.MODEL, id=model.model_name), deployment)
        if provider := providers[model.model_info.id]:
            yield _edge(deployment, Subject(kind=SubjectKind.PROVIDER, id=provider))


def _key_edges(keys: list[_Key]) -> Iterator[Edge]:
    for key in keys:
        if key.token and key.team_id:
            yield _edge(
                Subject(kind=SubjectKind.KEY, id=key_of(key.token)), Subject(kind=SubjectKind.TEAM, id=key.team_id)
            )


def _edge(source: Subject, target: Subject) -> Edge:
    return Edge(source=source, target=target, known_from=EdgeSource.INVENTORY)


def _provider(model: _Model) -> str:
    kind, _, rest = model.litellm_params.model.partition("/")
    return provider_of(model.model_info.litellm_provider or (kind if rest else ""), model.litellm_params.api_base)


def _upstream_name(model: _Model) -> str:
    kind, _, rest = model.litellm_params.model.partition("/")
    return rest or kind
