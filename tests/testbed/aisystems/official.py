"""Speaks with the fakes through the vendors' own clients, in an environment of their own: `python official.py WHERE`.

WHERE is JSON: where each fake is and what is in it, as `test_aisystem_counterparts.py` gives it. What each client made
of the replies is printed as JSON. A client that reads a fake's reply shows that the shape is right, not that the
service behaves so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def langfuse(url: str, public: str, secret: str, prompt: str) -> Mapping[str, Any]:
    from langfuse.api.client import LangfuseAPI
    from langfuse.api.commons.errors import NotFoundError

    api = LangfuseAPI(base_url=url, username=public, password=secret)
    before = api.prompts.get(prompt).version
    moved = api.prompt_version.update(prompt, 1, new_labels=["production"])
    try:
        api.prompts.get(prompt, label="nothing")
        missing = False
    except NotFoundError:
        missing = True
    listed = [one.name for one in api.prompts.list().data]
    return {"before": before, "labels": moved.labels, "after": api.prompts.get(prompt).version, "listed": listed} | {
        "missing": missing
    }


def langsmith(url: str, key: str, prompt: str, commit: str) -> Mapping[str, Any]:
    from langsmith import Client

    client = Client(api_url=url, api_key=key, auto_batch_tracing=False, info={})
    client._create_commit_tags(f"-/{prompt}", commit, "staging")
    commits = [one.commit_hash for one in client.list_prompt_commits(prompt)]
    return {"commits": len(commits), "staging": client.pull_prompt_commit(f"{prompt}:staging").manifest}


def cloudflare(url: str, key: str, gateway: str, route: str, version: str) -> Mapping[str, Any]:
    from cloudflare import Cloudflare, NotFoundError

    client, (account, name) = Cloudflare(api_token=key, base_url=f"{url}/client/v4", max_retries=0), gateway.split("/")
    held = client.ai_gateway.get(name, account_id=account)
    limited = client.ai_gateway.update(
        name,
        account_id=account,
        cache_invalidate_on_update=held.cache_invalidate_on_update,
        cache_ttl=held.cache_ttl,
        collect_logs=held.collect_logs,
        rate_limiting_interval=60,
        rate_limiting_limit=10,
    )
    there = {"account_id": account, "gateway_id": name}
    client.ai_gateway.dynamic_routing.create_deployment(route, version_id=version, **there)
    deployed = client.ai_gateway.dynamic_routing.get(route, **there)
    versions = client.ai_gateway.dynamic_routing.list_versions(route, **there).data.versions
    try:
        client.ai_gateway.get("nothing", account_id=account)
        missing = False
    except NotFoundError:
        missing = True
    return {
        "limit": limited.rate_limiting_limit,
        "listed": [one.id for one in client.ai_gateway.list(account_id=account)],
        "deployed": deployed.deployment.version_id,
        "active": [one.version_id for one in versions if one.active == "true"],
        "missing": missing,
    }


def portkey(url: str, key: str, config: str, api_key: str) -> Mapping[str, Any]:
    from portkey_ai import Portkey

    client = Portkey(api_key=key, base_url=f"{url}/v1")
    before = client.configs.retrieve(slug=config).version_id
    after = client.configs.update(slug=config, config={"retry": {"attempts": 2}}).version_id
    limit = [{"type": "requests", "unit": "rpm", "value": 3}]
    client.api_keys.update(id=api_key, rate_limits=limit)
    return {
        "new_version": before != after,
        "config": client.configs.retrieve(slug=config).config,
        "limits": client.api_keys.retrieve(id=api_key).rate_limits == limit,
    }


def qdrant(url: str, key: str, collection: str, alias: str, other: str, peers: list[int]) -> Mapping[str, Any]:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(url=url, api_key=key, check_compatibility=False)
    client.update_collection(collection, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=5))
    copy = models.ReplicateShard(shard_id=0, from_peer_id=peers[0], to_peer_id=peers[1])
    client.cluster_collection_update(collection, models.ReplicateShardOperation(replicate_shard=copy))
    away = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    named = models.CreateAlias(collection_name=other, alias_name=alias)
    client.update_collection_aliases([away, models.CreateAliasOperation(create_alias=named)])
    return {
        "threshold": client.get_collection(collection).config.optimizer_config.indexing_threshold,
        "replicas": [one.peer_id for one in client.collection_cluster_info(collection).remote_shards],
        "aliases": {one.alias_name: one.collection_name for one in client.get_aliases().aliases},
    }


if __name__ == "__main__":
    sys.path.pop(0)  # this folder has modules by the clients' names
    where = json.loads(sys.argv[1])
    speak = {one.__name__: one for one in (langfuse, langsmith, cloudflare, portkey, qdrant)}
    print(json.dumps({name: speak[name](**given) for name, given in where.items()}))
