<%
body = "\n".join(line for line in (upgrades or "pass").splitlines() if not line.strip().startswith("# ###"))
%>"""${message}"""

# ruff: noqa: PLR0915  (a schema is one long list)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${body.strip()}
