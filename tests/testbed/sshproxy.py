"""A proxy that stands between the Linux adapter and a real SSH server, and breaks commands in the ways that happen.

It ends SSH on both sides, so it sees each command whole: it is to the adapter the host itself (same host key, same
user key) on another port. Commands pass without their standard input; there is no SFTP, no terminal, no forwarding.
What is broken below SSH (no connection, another protocol) is left to a TcpProxy before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext

import asyncssh

from tests.testbed.hosts.host import LinuxHost, known_hosts
from tests.testbed.ports import LOOPBACK
from tests.testbed.tcpproxy import TcpProxy, tcp_proxy
from watchkeeper.adapters.kit import CORE_FAULTS, Fault

_COMMAND_WITHIN_S = 60
_LANDED_WITHIN_S = 30


class SshProxy:
    """`async with ssh_proxy(host, writes) as proxy`: the faults of the conformance kit, for one host.

    `writes` tells the commands that change something."""

    address = LOOPBACK

    def __init__(self, host: LinuxHost, writes: Callable[[str], bool]) -> None:
        self._host, self._writes = host, writes
        self._upstream: asyncssh.SSHClientConnection | None = None
        self._dialling = asyncio.Lock()
        self._fault: Fault | None = None
        self._writes_only = True
        self._released, self._landed = asyncio.Event(), asyncio.Event()
        self._landed.set()
        self._running: set[asyncio.Task[asyncssh.SSHCompletedProcess]] = set()
        self._held = 0
        self._front: TcpProxy | None = None
        self.commands: list[str] = []
        """Those that were passed on to the host, in order."""
        self.arrived = 0
        """How many commands came in; connections that failed bring none."""

    @property
    def port(self) -> int:
        return self._entrance.port

    @property
    def known_hosts(self) -> str:
        return known_hosts(self.address, self.port, self._host.host_key)

    @property
    def known(self) -> frozenset[Fault]:
        return CORE_FAULTS

    @property
    def greets(self) -> bool:
        return True

    @property
    def forwarded_writes(self) -> int:
        return sum(map(self._writes, self.commands))

    @contextmanager
    def meet(self, fault: Fault, *, writes_only: bool = True) -> Iterator[None]:
        """The fault is on inside the block. What is held goes to the host when the block ends.

        `writes_only` is for what breaks a command; a connection that fails, fails for reads too."""
        assert fault in self.known, fault
        self._fault, self._writes_only = fault, writes_only
        self._released.clear()
        try:
            with self._below(fault):
                yield
        finally:
            self._fault = None
            self._released.set()

    async def landed(self) -> None:
        """Every command that was held has been carried out."""
        async with asyncio.timeout(_LANDED_WITHIN_S):
            await self._landed.wait()

    def admits(self, user: str, key: asyncssh.SSHKey) -> bool:
        """Who may log in: whom the host lets in."""
        theirs = asyncssh.read_private_key(self._host.client_key).convert_to_public()
        return self._fault is not Fault.UNAUTHORIZED and user == self._host.user and key == theirs

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command, from its arrival to its answer, if it gets one."""
        command = process.command
        if command is None:
            process.exit(1)
            return
        self.arrived += 1
        fault = self._fault if self._writes(command) or not self._writes_only else None
        passing = asyncio.create_task(self._hold(command) if fault is Fault.HELD else self._forward(command))
        self._running.add(passing)
        passing.add_done_callback(self._running.discard)
        done = await asyncio.shield(passing)  # the host goes on with it when the client has gone
        if fault is Fault.DROP_AFTER_EFFECT:
            process.get_extra_info("connection").abort()
            return
        process.stdout.write(_bytes(done.stdout))
        process.stderr.write(_bytes(done.stderr))
        process.exit(255 if done.exit_status is None else done.exit_status)

    async def start(self, running: AsyncExitStack) -> None:
        server = await asyncssh.listen(
            LOOPBACK,
            server_factory=lambda: _Server(self),
            server_host_keys=[str(self._host.private_host_key)],
            process_factory=self.serve,
            encoding=None,
            allow_scp=False,
        )
        running.push_async_callback(server.wait_closed)
        running.callback(server.close)
        self._front = await running.enter_async_context(tcp_proxy(LOOPBACK, server.get_port()))

    async def stop(self) -> None:
        self._released.set()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._upstream is not None:
            self._upstream.abort()

    def _below(self, fault: Fault) -> AbstractContextManager[None]:
        """What the fault does to connections."""
        if fault is Fault.GARBAGE:
            return self._entrance.garbled()
        if fault is Fault.DOWN:
            return self._entrance.down()
        if fault is Fault.UNAUTHORIZED:
            self._entrance.cut()  # who is in already would not be asked again
        return nullcontext()

    async def _hold(self, command: str) -> asyncssh.SSHCompletedProcess:
        """The caller waits in vain; the host gets the command when the fault is over."""
        self._held += 1
        self._landed.clear()
        try:
            await self._released.wait()
            return await self._forward(command)
        finally:
            self._held -= 1
            if not self._held:
                self._landed.set()

    async def _forward(self, command: str) -> asyncssh.SSHCompletedProcess:
        connection = await self._connected()
        self.commands.append(command)
        return await connection.run(command, encoding=None, timeout=_COMMAND_WITHIN_S)

    async def _connected(self) -> asyncssh.SSHClientConnection:
        """The connection to the host, made again after it rebooted."""
        async with self._dialling:
            if self._upstream is None or self._upstream.is_closed():
                self._upstream = await asyncssh.connect(
                    self._host.address,
                    self._host.port,
                    username=self._host.user,
                    client_keys=[str(self._host.client_key)],
                    known_hosts=asyncssh.import_known_hosts(self._host.known_hosts),
                    agent_path=None,
                    config=None,
                )
            return self._upstream

    @property
    def _entrance(self) -> TcpProxy:
        assert self._front is not None, "the proxy was not started"
        return self._front


class _Server(asyncssh.SSHServer):
    def __init__(self, proxy: SshProxy) -> None:
        self._proxy = proxy

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._proxy.admits(username, key)


@asynccontextmanager
async def ssh_proxy(host: LinuxHost, writes: Callable[[str], bool]) -> AsyncIterator[SshProxy]:
    """On a free loopback port, which it keeps."""
    proxy = SshProxy(host, writes)
    async with AsyncExitStack() as running:
        running.push_async_callback(proxy.stop)
        await proxy.start(running)
        yield proxy


def _bytes(output: str | bytes | None) -> bytes:
    return output.encode() if isinstance(output, str) else output or b""
