"""Qdrant in distributed mode: our own fake of its REST API, after its OpenAPI document (1.19) and client 1.20.

Targets: `collection` (its parameters), `shard`, id `COLLECTION/NUMBER` (on which peers it is), `alias` (which
collection a name means). Followed: paths, the api-key header and read-only keys, the fields and their diffs (null
leaves a value as it is: "not set" cannot be written back), transfers as part of a collection's cluster, the envelope. A
replication factor alone copies nothing: replicas are made and dropped one by one. From memory: texts of errors, 403 for
a read-only key. A 429 is Qdrant's only for points (strict mode). The server's binary is in no package registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from pydantic import JsonValue

from tests.testbed.aisystems.fake import Fake, Refusal, body_of
from tests.testbed.clouds.jsonserver import JsonObject, Reply, Request
from watchkeeper.core.model import Scalar

PEERS = (1001, 1002, 1003)
"""The one that answers comes first."""
_COLLECTION = re.compile(r"/collections/([^/]+)(/cluster|/aliases)?")
PARAMS = ("replication_factor", "write_consistency_factor", "read_fan_out_factor", "read_fan_out_delay_ms")
OPTIMIZERS = ("default_segment_number", "indexing_threshold", "flush_interval_sec", "max_optimization_threads")
HNSW = ("m", "ef_construct", "full_scan_threshold", "max_indexing_threads")
_SECTIONS = {"params": PARAMS, "optimizers_config": OPTIMIZERS, "hnsw_config": HNSW}


@dataclass
class Collection:
    settings: dict[str, Scalar]
    shards: dict[int, dict[int, str]]
    """By shard: each peer's replica, and its state."""
    transfers: list[tuple[int, int, int]] = field(default_factory=list)
    """(shard, from, to), under way."""


class QdrantFake(Fake):
    def __init__(self) -> None:
        super().__init__()
        self._collections: dict[str, Collection] = {}
        self._aliases: dict[str, str] = {}
        self._held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """No transfer of a shard ends inside the block."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    # Makers.

    def collection(self, shards: int = 1, **settings: Scalar) -> str:
        """A collection, each shard of it on one peer."""
        name = f"docs-{uuid4().hex[:8]}"
        made: dict[str, Scalar] = dict.fromkeys((*PARAMS, *OPTIMIZERS, *HNSW))
        made |= {"replication_factor": 1, "write_consistency_factor": 1, "default_segment_number": 0}
        made |= {"indexing_threshold": 10_000, "flush_interval_sec": 5}
        made |= {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0}
        placed = {number: {PEERS[number % len(PEERS)]: "Active"} for number in range(shards)}
        self._collections[name] = Collection({**made, **settings}, placed)
        return name

    def alias(self, collection: str) -> str:
        name = f"live-{uuid4().hex[:8]}"
        self._aliases[name] = collection
        return name

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """What is not there is a LookupError; an alias that is not set has the collection None."""
        with self.lock:
            self._settle()
            if kind == "alias":
                return {"collection": self._aliases.get(id_)}
            name, _, number = id_.partition("/")
            found = self._collections[name]
            if kind == "collection":
                return dict(found.settings)
            assert kind == "shard"
            replicas = found.shards[int(number)]
            active = [peer for peer, state in sorted(replicas.items()) if state == "Active"]
            return {"active": ",".join(map(str, active)), "replicas": len(replicas)}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """`collection` of an alias (None takes it away), fields of a collection, the `active` peers of a shard."""
        with self.lock:
            if kind == "alias":
                self._aliases.pop(id_, None)
                if values["collection"] is not None:
                    self._aliases[id_] = str(values["collection"])
                return
            name, _, number = id_.partition("/")
            found = self._collections[name]
            if kind == "collection":
                assert set(values) <= set(found.settings)
                found.settings |= values
            else:
                found.shards[int(number)] = {int(peer): "Active" for peer in str(values["active"]).split(",")}

    # The server.

    def credential(self, request: Request) -> str | None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return request.headers.get("api-key") or bearer

    def unauthorized(self) -> Refusal:
        return Refusal(401, "Must provide an API key or an Authorization bearer token")

    def forbidden(self) -> Refusal:
        return _error(403, "Forbidden: Global manage access is required")

    def throttled(self, retry_after_s: int) -> Refusal:
        message = "Rate limiting exceeded: Write rate limit exceeded, retry later"
        return Refusal(429, _status(message), {"Retry-After": str(retry_after_s)})

    def handle(self, request: Request) -> Reply:
        self._settle()
        match request.method, request.path:
            case "GET", "/collections":
                return _ok({"collections": [{"name": name} for name in sorted(self._collections)]})
            case "GET", "/cluster":
                peers: JsonObject = {str(peer): {"uri": f"http://qdrant-{peer}:6335/"} for peer in PEERS}
                return _ok({"status": "enabled", "peer_id": PEERS[0], "peers": peers})
            case "GET", "/aliases":
                return _ok({"aliases": [_alias(*one) for one in sorted(self._aliases.items())]})
            case "POST", "/collections/aliases":
                return self._change_aliases(body_of(request, _invalid("body")))
        found = _COLLECTION.fullmatch(request.path)
        if found is None:
            raise Refusal(404, None)
        name, collection = found[1], self._collections.get(self._aliases.get(found[1], found[1]))
        if collection is None:
            raise _error(404, f"Not found: Collection `{name}` doesn't exist!")
        match request.method, found[2]:
            case "GET", None:
                return _ok(_info(collection))
            case "PATCH", None:
                return _update(collection, body_of(request, _invalid("body")))
            case "GET", "/cluster":
                return _ok(_cluster(collection))
            case "POST", "/cluster":
                return _operate(collection, body_of(request, _invalid("body")))
            case "GET", "/aliases":
                return _ok({"aliases": [_alias(*one) for one in sorted(self._aliases.items()) if one[1] == name]})
        raise Refusal(405, None)

    def _settle(self) -> None:
        """Transfers come to their end, unless held."""
        for collection in () if self._held else self._collections.values():
            for shard, _, to in collection.transfers:
                collection.shards[shard][to] = "Active"
            collection.transfers.clear()

    def _change_aliases(self, body: JsonObject) -> Reply:
        """All of it or nothing."""
        after, actions = dict(self._aliases), body.get("actions")
        for action in actions if isinstance(actions, list) else [None]:
            match action:
                case {"delete_alias": {"alias_name": str(name)}}:
                    if after.pop(name, None) is None:
                        raise _error(404, f"Not found: Alias {name} does not exists!")
                case {"create_alias": {"alias_name": str(name), "collection_name": str(collection)}}:
                    if collection not in self._collections:
                        raise _error(404, f"Not found: Collection `{collection}` doesn't exist!")
                    after[name] = collection
                case _:
                    raise _invalid("actions")
        self._aliases = after
        return _ok(True)


def _update(collection: Collection, body: JsonObject) -> Reply:
    """A diff: what is left out, or null, stays."""
    after: dict[str, Scalar] = {}
    for section, given in body.items():
        if section not in _SECTIONS or not isinstance(given, dict):
            raise _invalid(section)
        for name, value in given.items():
            least = 1 if name in ("replication_factor", "write_consistency_factor") else 0
            fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if name == "max_optimization_threads" and value == "auto":
                after[name] = None
            elif name not in _SECTIONS[section] or (value is not None and not fits):
                raise _invalid(f"{section}.{name}")
            elif isinstance(value, int):
                after[name] = value
    collection.settings |= after
    return _ok(True)


def _operate(collection: Collection, body: JsonObject) -> Reply:
    match body:
        case {"replicate_shard": {"shard_id": int(shard), "from_peer_id": int(source), "to_peer_id": int(to)}}:
            replicas = _replicas(collection, shard, source)
            if to not in PEERS:
                raise _error(400, f"Wrong input: Peer {to} does not exist")
            if to in replicas:
                raise _error(400, f"Wrong input: Shard {shard} is already replicated on peer {to}")
            replicas[to] = "Partial"
            collection.transfers.append((shard, source, to))
        case {"drop_replica": {"shard_id": int(shard), "peer_id": int(peer)}}:
            replicas = _replicas(collection, shard, peer)
            if not any(state == "Active" for one, state in replicas.items() if one != peer):
                raise _error(
                    400, f"Wrong input: Shard {shard} must have at least one active replica after removing {peer}"
                )
            del replicas[peer]
            collection.transfers = [one for one in collection.transfers if (one[0], one[2]) != (shard, peer)]
        case _:
            raise _invalid("operation")
    return _ok(True)


def _replicas(collection: Collection, shard: int, peer: int) -> dict[int, str]:
    replicas = collection.shards.get(shard)
    if replicas is None:
        raise _error(400, f"Wrong input: Shard {shard} does not exist")
    if peer not in replicas:
        raise _error(400, f"Wrong input: Peer {peer} has no replica of shard {shard}")
    return replicas


def _info(collection: Collection) -> JsonValue:
    def some(names: tuple[str, ...]) -> JsonObject:
        return {name: collection.settings[name] for name in names}

    params: JsonValue = {
        "vectors": {"size": 4, "distance": "Cosine"},
        "shard_number": len(collection.shards),
        **some(PARAMS),
    }
    config: JsonValue = {"params": params, "hnsw_config": some(HNSW), "optimizer_config": some(OPTIMIZERS)}
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": 0,
        "segments_count": 1,
        "config": config,
        "payload_schema": {},
    }


def _cluster(collection: Collection) -> JsonValue:
    local: list[JsonValue] = []
    remote: list[JsonValue] = []
    for shard, replicas in collection.shards.items():
        for peer, state in sorted(replicas.items()):
            if peer == PEERS[0]:
                local.append({"shard_id": shard, "points_count": 0, "state": state})
            else:
                remote.append({"shard_id": shard, "peer_id": peer, "state": state})
    moves: list[JsonValue] = [
        {"shard_id": shard, "from": source, "to": to, "sync": True} for shard, source, to in collection.transfers
    ]
    return {
        "peer_id": PEERS[0],
        "shard_count": len(collection.shards),
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": moves,
    }


def _alias(alias: str, collection: str) -> JsonValue:
    return {"alias_name": alias, "collection_name": collection}


def _ok(result: JsonValue) -> Reply:
    return Reply(200, {"result": result, "status": "ok", "time": 0.001})


def _status(message: str) -> JsonValue:
    return {"status": {"error": message}, "time": 0.001}


def _error(status: int, message: str) -> Refusal:
    return Refusal(status, _status(message))


def _invalid(path: str) -> Refusal:
    return _error(400, f"Format error in JSON body: {path}")
