"""The tables of authority: stops, approvals, claims, remedies in force, policy versions.

Columns are what queries need; `body` is the canonical JSON of the contract and is what is read back. Policy documents,
versions and their history are append-only by trigger, since decisions are replayed with them.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, text

from watchkeeper.store.guards import Guard, append_only, guard
from watchkeeper.store.metadata import METADATA, BigId, InstantText

authority_epoch = Table(
    "authority_epoch",
    METADATA,
    Column("scope", String(640), primary_key=True),
    Column("epoch", BigId, nullable=False),
    Column("stopped", Boolean, nullable=False),
    Column("changed", InstantText, nullable=False),
    Column("changed_by", String(128), nullable=False),
)

approval = Table(
    "approval",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("incident", String(64), nullable=False, index=True),
    Column("plan_hash", String(80), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("expires", InstantText, nullable=False),
    Column("used_by", String(64)),
    Column("used_at", InstantText),
    Column("audience", String(256), index=True),
    Column("asked", InstantText),
    Column("told", InstantText),
    Column("body", LargeBinary, nullable=False),
)
"""`audience`: the roles that are asked. `told`: when people were told, with whatever else waited for them."""

approval_answer = Table(
    "approval_answer",
    METADATA,
    Column("approval", String(64), ForeignKey("approval.id"), primary_key=True),
    Column("person", String(128), primary_key=True),
    Column("at", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

approval_escalation = Table(
    "approval_escalation",
    METADATA,
    Column("approval", String(64), ForeignKey("approval.id"), primary_key=True),
    Column("term", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

plan_edit = Table(
    "plan_edit",
    METADATA,
    Column("approval", String(64), ForeignKey("approval.id"), primary_key=True),
    Column("incident", String(64), nullable=False, index=True),
    Column("plan", LargeBinary, nullable=False),
    Column("at", InstantText, nullable=False),
)
"""The plan that a person made of the one that the approval asked about, until the incident takes it up and after."""

stop_order = Table(
    "stop_order",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("at", InstantText, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
)
"""A person's order to undo what a stop left half done. It holds only for the epochs that are in its body."""

stop_undo = Table(
    "stop_undo",
    METADATA,
    Column("order_id", String(64), primary_key=True),
    Column("stop", String(64), ForeignKey("stop_order.id"), nullable=False, index=True),
    Column("incident", String(64), nullable=False),
    Column("at", InstantText, nullable=False),
)
"""The orders to single incidents that a stop's order came down to."""

effect_claim = Table(
    "effect_claim",
    METADATA,
    Column("key", String(192), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("incident", String(64), nullable=False, index=True),
    Column("plan", String(64), nullable=False, index=True),
    Column("step", Integer, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("runbook", String(128), nullable=False),
    Column("environment", String(256), nullable=False),
    Column("service", String(256), nullable=False),
    Column("target", String(512), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("taken", InstantText, nullable=False, index=True),
    Column("not_after", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("outcome", LargeBinary),
    Index("effect_claim_rate", "runbook", "environment", "service", "taken"),
    Index("effect_claim_target", "target", "taken"),
    Index(
        "effect_claim_one_open_on_target",
        "target",
        unique=True,
        sqlite_where=text("state IN ('open', 'unknown')"),
        postgresql_where=text("state IN ('open', 'unknown')"),
    ),
)

claim_refused = Table(
    "claim_refused",
    METADATA,
    Column("key", String(192), primary_key=True),
    Column("incident", String(64), nullable=False, index=True),
    Column("plan_hash", String(80), nullable=False),
    Column("reason", String(64), nullable=False),
)
"""The last refusal of a key that was told, so that the same one is not told again each time it is asked for."""

remedy = Table(
    "remedy",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("incident", String(64), nullable=False, index=True),
    Column("plan", String(64), nullable=False),
    Column("step", Integer, nullable=False),
    Column("target", String(512), nullable=False, index=True),
    Column("status", String(16), nullable=False, index=True),
    Column("expires", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

owned_field = Table(
    "owned_field",
    METADATA,
    Column("target", String(512), primary_key=True),
    Column("path", String(256), primary_key=True),
    Column("incident", String(64), nullable=False),
    Column("plan", String(64), nullable=False, index=True),
    Column("step", Integer, nullable=False),
    Column("remedy", String(64), ForeignKey("remedy.id"), index=True),
)
"""Who owns a field of a target: reserved by the claim that is about to change it, then held by the remedy."""

policy_document = Table(
    "policy_document",
    METADATA,
    Column("digest", String(80), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

policy_version = Table(
    "policy_version",
    METADATA,
    Column("version", String(80), primary_key=True),
    Column("documents", LargeBinary, nullable=False),
)
"""`documents` is the JSON list of the digests a version is made of. A version is written once and never changed."""

policy_activation = Table(
    "policy_activation",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("version", String(80), ForeignKey("policy_version.version"), nullable=False),
    Column("previous", String(80)),
    Column("author", String(128), nullable=False),
    Column("reason", String(96)),
    Column("at", InstantText, nullable=False),
)
"""Who made which version active, and when; `reason` is the commitment of the text in the evidence store."""

policy_active = Table(
    "policy_active",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", String(80), ForeignKey("policy_version.version"), nullable=False),
)
"""One row, id 1."""

APPEND_ONLY = (
    *(policy_document, policy_version, policy_activation),
    *(approval_answer, approval_escalation, plan_edit, stop_order, stop_undo),
)
for _table in APPEND_ONLY:
    append_only(_table)
guard(
    approval,
    Guard(
        "approval",
        "UPDATE",
        "binds one plan, once",
        "NEW.body <> OLD.body OR NEW.plan_hash <> OLD.plan_hash OR NEW.expires <> OLD.expires "
        "OR NEW.used_by <> OLD.used_by OR (OLD.used_by IS NOT NULL AND NEW.used_by IS NULL) "
        "OR (NEW.state <> OLD.state AND OLD.state NOT IN ('pending', 'approved'))",
    ),
    Guard("approval", "DELETE", "binds one plan, once"),
    Guard("approval", "TRUNCATE", "binds one plan, once"),
)
