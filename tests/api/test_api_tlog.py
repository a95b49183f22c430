"""tlog-tiles over HTTP: paths, types, caching and who may read."""

from __future__ import annotations

import gzip

import pytest
from tests.testbed.faces import Face

from watchkeeper.core.principals import Role
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash
from watchkeeper.ledger.tree.tiling import unbundle

TLOG = "/v1/ledger/tlog"


async def test_a_client_of_tlog_tiles_rebuilds_the_signed_tree(face: Face) -> None:
    await face.log.grow(300)
    async with face.client(Role.VIEWER) as viewer:
        note = await viewer.get(f"{TLOG}/checkpoint")
        assert note.headers["content-type"] == "text/plain; charset=utf-8"
        assert "max-age=2" in note.headers["cache-control"]
        signed = open_checkpoint(note.text, [face.log.key.verifier])
        rest = signed.size - 256
        tiles = [await viewer.get(f"{TLOG}/tile/0/{name}") for name in ("000", f"001.p/{rest}")]
        bundles = [await viewer.get(f"{TLOG}/tile/entries/{name}") for name in ("000", f"001.p/{rest}")]
    assert all(reply.headers["content-type"] == "application/octet-stream" for reply in (*tiles, *bundles))
    assert all("immutable" in reply.headers["cache-control"] for reply in (*tiles, *bundles))
    leaves = [leaf_hash(body) for reply in bundles for body in unbundle(reply.content)]
    assert b"".join(leaves) == b"".join(reply.content for reply in tiles)
    tree = Tree()
    tree.extend(leaves)
    assert tree.root() == signed.root


async def test_bundles_are_compressed_for_who_takes_it(face: Face) -> None:
    await face.log.grow(3)
    size = await face.log.reader.size()
    path = f"{TLOG}/tile/entries/000.p/{size}"
    async with face.client(Role.VIEWER) as viewer:
        plain = await viewer.get(path, headers={"accept-encoding": "identity, gzip;q=0"})
        packed = await viewer.get(path, headers={"accept-encoding": "br, gzip"})
    assert ("content-encoding" not in plain.headers, packed.headers["content-encoding"]) == (True, "gzip")
    assert plain.content == packed.content, "the client has unpacked it"
    assert len(gzip.compress(plain.content)) < len(plain.content)


@pytest.mark.parametrize("path", ["0/001", "0/000.p/0", "x/000", "0/x000/001", "entries/999", "0/..%2f000", ""])
async def test_what_is_no_tile_is_not_found(face: Face, path: str) -> None:
    await face.log.grow(3)
    async with face.client(Role.VIEWER) as viewer:
        reply = await viewer.get(f"{TLOG}/tile/{path}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_nobody_reads_tiles_without_a_role(face: Face) -> None:
    await face.log.grow(3)
    async with face.client() as nobody, face.client(Role.INGEST, name="sender") as sender:
        for path in ("checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"):
            assert (await nobody.get(f"{TLOG}/{path}")).status_code == 401
            assert (await sender.get(f"{TLOG}/{path}")).status_code == 403
