"""Proves that the proxy of SSH commands breaks them as the conformance kit means each fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncssh
import pytest

from tests.testbed.hosts import LinuxHost
from tests.testbed.sshproxy import SshProxy, ssh_proxy
from watchkeeper.adapters.kit import Fault, Faults

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("linux_host")]


@pytest.fixture
async def proxy(linux_host: LinuxHost) -> AsyncIterator[SshProxy]:
    async with ssh_proxy(linux_host, lambda command: command.startswith("touch ")) as running:
        yield running


@asynccontextmanager
async def login(proxy: SshProxy, host: LinuxHost) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        proxy.address,
        proxy.port,
        username=host.user,
        client_keys=[str(host.client_key)],
        known_hosts=asyncssh.import_known_hosts(proxy.known_hosts),
        agent_path=None,
        config=None,
    ) as connection:
        yield connection


@pytest.fixture
def mark() -> str:
    return f"/tmp/{uuid4().hex}"


async def test_without_a_fault_it_is_the_host(proxy: SshProxy, linux_host: LinuxHost, mark: str) -> None:
    faults: Faults = proxy
    assert faults.greets
    async with login(proxy, linux_host) as connection:
        done = await connection.run("hostname; echo oops >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_status) == (f"{linux_host.name}\n", "oops\n", 3)
        assert (await connection.run(f"touch {mark}")).exit_status == 0
        big = await connection.run("head -c 3000000 /dev/zero | tr '\\0' x")
        assert len(str(big.stdout)) == 3_000_000
    assert linux_host.judge.path(mark).exists()
    assert (proxy.arrived, proxy.forwarded_writes) == (3, 1)


async def test_a_dropped_answer_is_not_known_though_the_command_was_carried_out(
    proxy: SshProxy, linux_host: LinuxHost, mark: str
) -> None:
    async with login(proxy, linux_host) as connection:
        with proxy.meet(Fault.DROP_AFTER_EFFECT):
            assert (await connection.run("echo read")).stdout == "read\n"
            assert (await connection.run(f"touch {mark}")).exit_status is None
    assert linux_host.judge.path(mark).exists()


async def test_what_is_held_lands_when_the_fault_is_over(proxy: SshProxy, linux_host: LinuxHost, mark: str) -> None:
    async with login(proxy, linux_host) as connection:
        with proxy.meet(Fault.HELD):
            with pytest.raises(asyncssh.TimeoutError):
                await connection.run(f"touch {mark}", timeout=0.2)
            connection.abort()
            assert not linux_host.judge.path(mark).exists()
        await proxy.landed()
    assert linux_host.judge.path(mark).exists()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.GARBAGE, asyncssh.Error),
        (Fault.UNAUTHORIZED, asyncssh.PermissionDenied),
        (Fault.DOWN, ConnectionRefusedError),
    ],
)
async def test_a_connection_that_fails_brings_no_command(
    proxy: SshProxy, linux_host: LinuxHost, fault: Fault, error: type[Exception]
) -> None:
    async with login(proxy, linux_host) as before:
        with proxy.meet(fault):
            with pytest.raises(error):
                async with login(proxy, linux_host):
                    pass
            await asyncio.wait_for(before.wait_closed(), 20)
    async with login(proxy, linux_host) as connection:
        assert (await connection.run("true")).exit_status == 0
    assert proxy.commands == ["true"]
