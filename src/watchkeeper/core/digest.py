"""Digests and salted commitments.

A digest names content that may be shown; a commitment names content that may have to be forgotten:
without the salt it says nothing about the body, and once the salt is destroyed nothing can be tested against it.
"""

from __future__ import annotations

import hashlib
import hmac

from pydantic import BaseModel

from watchkeeper.core.canonical import canonical


def sha256(data: bytes) -> str:
    """`sha256:` + 64 lower-case hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(model: BaseModel) -> str:
    """The digest of a contract. Fields at their default are left out, so that a later version's new optional field
    does not change what an older one hashed; an existing default must therefore never change."""
    return sha256(canonical(model.model_dump(mode="json", exclude_defaults=True)))


def commitment(salt: bytes, body: bytes) -> str:
    """HMAC-SHA-256 of the body under a random salt of 32 bytes, as `hmac-sha256:` + hex."""
    return "hmac-sha256:" + hmac.new(salt, body, hashlib.sha256).hexdigest()
