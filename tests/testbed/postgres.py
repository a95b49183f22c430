"""A throw-away PostgreSQL cluster on loopback, and a fresh database for each test.

Each test process has its own cluster, so parallel workers share nothing. Durability is on (fsync, synchronous
commit), as in production; authentication is NOT (`trust` on loopback), and nothing survives the `with` block.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from tests.testbed.peers import require_peer
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess, ProcessDied

HOW_TO_INSTALL = "PostgreSQL's server programs (initdb, postgres): apt-get install postgresql"
_DEBIAN = Path("/usr/lib/postgresql")
_START_ATTEMPTS = 3
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class Database:
    """One empty database."""

    name: str
    dsn: str
    """For libpq, psql and everything that is not SQLAlchemy."""

    @property
    def url(self) -> str:
        """For SQLAlchemy, with psycopg as its driver."""
        return self.dsn.replace("postgresql://", "postgresql+psycopg://", 1)

    def url_of(self, role: str) -> str:
        """For SQLAlchemy, as another role; nobody needs a password here."""
        return self.url.replace("//postgres@", f"//{role}@", 1)


class PostgresServer:
    """A running cluster."""

    def __init__(self, user: str, port: int) -> None:
        self._base = f"postgresql://{user}@{LOOPBACK}:{port}"
        self._numbers = count(1)

    @property
    def admin_dsn(self) -> str:
        return f"{self._base}/postgres"

    def fresh_database(self, template: str = "template0") -> Database:
        """Create a database that no other test has seen: an empty one, or a copy of `template`."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        named = (sql.Identifier(each) for each in (name, template))
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*named))
        return Database(name=name, dsn=f"{self._base}/{name}")

    @contextmanager
    def database_on(self, disk: Path) -> Iterator[Database]:
        """An empty database whose tables lie on this disk; the server's log of changes does not."""
        place = disk / "tablespace"
        place.mkdir()
        if (user := _unprivileged_user()) is not None:
            shutil.chown(place, user, user)
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        named = sql.Identifier(name)
        self._execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(named, sql.Literal(str(place))))
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 TABLESPACE {}").format(named, named))
        database = Database(name=name, dsn=f"{self._base}/{name}")
        try:
            yield database
        finally:
            self.drop_database(database)
            self._execute(sql.SQL("DROP TABLESPACE {}").format(named))

    def run(self, database: Database, statements: Iterable[str]) -> None:
        """As the superuser, in a database."""
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            for each in statements:
                connection.execute(each.encode())

    def drop_database(self, database: Database) -> None:
        """Remove it, whoever is still connected."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def drop_roles(self, names: Iterable[str]) -> None:
        for name in names:
            self._execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.admin_dsn, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Make a cluster, start it, and remove it at the end."""
    binaries = _binaries()
    require_peer(binaries, HOW_TO_INSTALL)
    assert binaries is not None
    user = _unprivileged_user()
    # Not under pytest's own directory: that is closed to the other user when root runs the tests.
    directory = Path(tempfile.mkdtemp(prefix=f"watchkeeper-postgres-{os.getpid()}-"))
    try:
        if user is not None:
            shutil.chown(directory, user, user)
        _make_cluster(binaries, directory, user)
        with _running(binaries, directory, user) as server:
            yield server
    finally:
        shutil.rmtree(directory)


def _make_cluster(binaries: Path, directory: Path, user: str | None) -> None:
    """initdb; without its own syncs, because the cluster may be lost with the machine but not with the server."""
    initdb = [
        *(str(part) for part in (binaries / "initdb", "-D", directory / "data")),
        *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
    ]
    with ChildProcess("initdb", initdb, log=directory / "initdb.log", user=user, cwd=directory) as child:
        child.wait_until(lambda: not child.running, timeout_s=60, what="the end of initdb")
        status = child.terminate()
    if status != 0:
        raise ProcessDied(f"initdb ended with status {status}:\n{child.log_tail()}")


@contextmanager
def _running(binaries: Path, directory: Path, user: str | None) -> Iterator[PostgresServer]:
    """The server of the cluster; tries other ports when the one it chose was taken meanwhile."""
    settings = {**_SETTINGS, "unix_socket_directories": str(directory)}
    for attempt in range(1, _START_ATTEMPTS + 1):
        port = free_port()
        server = PostgresServer("postgres", port)
        argv: list[str] = [str(binaries / "postgres"), "-D", str(directory / "data"), "-p", str(port)]
        argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # QUIT is PostgreSQL's immediate shutdown: it takes its children along.
        child = ChildProcess(
            "postgres", argv, log=directory / "postgres.log", user=user, cwd=directory, death_signal="QUIT"
        )
        with child:
            try:
                child.wait_until(server.answers, timeout_s=30, what="connection")
            except ProcessDied:
                if attempt == _START_ATTEMPTS:
                    raise
                continue
            yield server
            return


def _binaries() -> Path | None:
    """The directory of the newest installed server programs, Debian's place first."""
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda found: int(found.parts[-3]))
    if versions:
        return versions[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        return None
    return Path(initdb).resolve().parent


def _unprivileged_user() -> str | None:
    """Whom to run the server as: PostgreSQL refuses root; everybody else runs it himself (None)."""
    if getpass.getuser() != "root" and os.geteuid() != 0:
        return None
    known = subprocess.run(["id", "-u", "postgres"], capture_output=True, check=False).returncode == 0
    require_peer(known, "the user `postgres`, whom root starts the server as: apt-get install postgresql")
    return "postgres"
