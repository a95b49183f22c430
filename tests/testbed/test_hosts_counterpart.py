"""Proves that the Linux host is a real one: what the adapter and its tests rely on, seen over SSH and by the judge."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from tests.testbed.hosts import HostDown, Installation, LinuxHost, known_hosts, linux_host
from tests.testbed.keeper import hierarchies
from tests.testbed.polling import eventually
from tests.testbed.tcpproxy import TcpProxy, tcp_proxy

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("linux_host")]

ROOT = Path(__file__).parents[2]
SUDOERS = """\
watchkeeper ALL=(root) NOPASSWD: /usr/bin/systemctl restart demo.service, /usr/bin/systemctl stop demo.service
watchkeeper ALL=(root) NOPASSWD: /usr/bin/systemctl reload demo.service
watchkeeper ALL=(root) NOPASSWD: /usr/sbin/reboot ""
watchkeeper ALL=(app) NOPASSWD: /usr/bin/rm -f -- /var/log/app/filler
"""
BOOTS_ONE = """
import sys
from pathlib import Path
from tests.testbed.hosts import cached, linux_host
with linux_host(cached(), Path(sys.argv[1]), name="orphan") as host:
    print(host.address, host._keeper.pid, host.judge.leader, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="host")
def as_installed(linux_host: LinuxHost) -> LinuxHost:
    linux_host.reset()
    return linux_host


@asynccontextmanager
async def login(
    host: LinuxHost, *, key: str | None = None, through: TcpProxy | None = None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """As the adapter would: by key, and only at a host that is known."""
    address, port = (host.address, host.port) if through is None else (through.address, through.port)
    known = asyncssh.import_known_hosts(known_hosts(address, port, key or host.host_key))
    async with asyncssh.connect(
        address,
        port,
        username=host.user,
        client_keys=[str(host.client_key)],
        known_hosts=known,
        agent_path=None,
        config=None,
        login_timeout=20,
    ) as connection:
        yield connection


async def show(connection: asyncssh.SSHClientConnection, *properties: str) -> dict[str, str]:
    done = await connection.run(f"systemctl show demo.service --property={','.join(properties)}", check=True)
    return dict(line.split("=", 1) for line in str(done.stdout).splitlines())


async def test_only_the_known_key_lets_a_host_in_and_only_the_users_key_the_user(host: LinuxHost) -> None:
    async with login(host) as connection:
        assert (await connection.run("id -un; hostname")).stdout == f"watchkeeper\n{host.name}\n"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with login(host, key=other):
            pass
    known = asyncssh.import_known_hosts(host.known_hosts)
    for user in (host.user, "root"):
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                host.address, username=user, password="", client_keys=None, known_hosts=known, agent_path=None
            )


async def test_a_service_is_restarted_reloaded_and_stopped_over_ssh(host: LinuxHost) -> None:
    host.allow_by_sudo(SUDOERS)
    names = ("ActiveState", "SubState", "InvocationID", "MainPID", "NRestarts", "ExecMainStartTimestampMonotonic")
    async with login(host) as connection:
        before = await show(connection, *names)
        assert (before["ActiveState"], before["SubState"], before["NRestarts"]) == ("active", "running", "0")
        await connection.run("sudo -n /usr/bin/systemctl restart demo.service", check=True)
        after = await show(connection, *names)
        assert after["InvocationID"] != before["InvocationID"]
        assert after["MainPID"] != before["MainPID"]
        assert int(after["ExecMainStartTimestampMonotonic"]) > int(before["ExecMainStartTimestampMonotonic"])
        assert after["InvocationID"] == host.judge.unit("demo.service")["InvocationID"]

        host.judge.write("/etc/demo.conf", "LEVEL=debug\n")
        await connection.run("sudo -n /usr/bin/systemctl reload demo.service", check=True)
        eventually(lambda: host.judge.journal("demo.service")[-1:] == ["level debug"] or None, timeout_s=20)
        reloaded = await show(connection, *names)
        assert reloaded == after, "a reload is the same invocation"

        await connection.run("sudo -n /usr/bin/systemctl stop demo.service", check=True)
        stopped = await show(connection, *names)
        assert (stopped["ActiveState"], stopped["SubState"], stopped["MainPID"]) == ("inactive", "dead", "0")
        assert stopped["InvocationID"] == after["InvocationID"], "systemd keeps it until the next start"


async def test_a_killed_service_has_failed_until_it_is_restarted(host: LinuxHost) -> None:
    host.allow_by_sudo(SUDOERS)
    killed = host.judge.unit("demo.service")
    host.judge.run("kill", "-9", killed["MainPID"])
    failed = eventually(lambda: _in_state(host, "failed"), timeout_s=20)
    assert (failed["Result"], failed["ExecMainStatus"], failed["MainPID"]) == ("signal", "9", "0")
    async with login(host) as connection:
        active = await connection.run("systemctl is-active demo.service")
        assert (active.exit_status, active.stdout) == (3, "failed\n")
        await connection.run("sudo -n /usr/bin/systemctl restart demo.service", check=True)
    again = host.judge.unit("demo.service")
    assert (again["ActiveState"], again["Result"]) == ("active", "success")
    assert again["InvocationID"] != killed["InvocationID"]


def test_what_systemd_restarts_by_itself_is_counted(host: LinuxHost) -> None:
    service = "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=0\n"
    host.judge.install_unit("phoenix.service", service)
    host.judge.run("systemctl", "start", "phoenix.service")
    first = host.judge.unit("phoenix.service")
    host.judge.run("kill", "-9", first["MainPID"])

    def risen() -> dict[str, str] | None:
        now = host.judge.unit("phoenix.service")
        return now if now["NRestarts"] == "1" and now["ActiveState"] == "active" else None

    second = eventually(risen, timeout_s=20)
    assert second["InvocationID"] != first["InvocationID"]
    host.judge.run("systemctl", "stop", "phoenix.service")


async def test_a_disk_is_full_and_freed(host: LinuxHost) -> None:
    host.allow_by_sudo(SUDOERS)
    host.judge.disk.fill()
    host.judge.run("chown", "app:", "/var/log/app/filler")
    full = host.judge.try_run("setpriv", "--reuid=app", "--clear-groups", "dd", "if=/dev/zero", "of=/var/log/app/more")
    assert "No space left on device" in full.stderr
    async with login(host) as connection:
        usage = "df --block-size=1 --output=target,fstype,avail,pcent /var/log/app"
        shown = str((await connection.run(usage, check=True)).stdout).splitlines()[1].split()
        assert shown == ["/var/log/app", "ext4", "0", "100%"]
        await connection.run("sudo -n -u app /usr/bin/rm -f -- /var/log/app/filler", check=True)
        shown = str((await connection.run(usage, check=True)).stdout).splitlines()[1].split()
    assert int(shown[2]) > 20 << 20


async def test_sudo_refuses_what_is_not_listed(host: LinuxHost) -> None:
    allowed = "sudo -n /usr/bin/systemctl restart demo.service"
    async with login(host) as connection:
        before = host.judge.unit("demo.service")
        refused = await connection.run(allowed)
        assert (refused.exit_status, refused.stderr) == (1, "sudo: a password is required\n")
        assert host.judge.unit("demo.service") == before
        host.allow_by_sudo(SUDOERS)
        assert (await connection.run(allowed)).exit_status == 0
        for command in (
            "sudo -n /usr/bin/systemctl restart ssh.service",
            "sudo -n /usr/bin/systemctl restart demo.service ssh.service",
            "sudo -n /usr/bin/systemctl --no-block restart demo.service",
            "sudo -n -u app /usr/bin/rm -f -- /var/log/app/../../etc/passwd",
            "sudo -n /usr/sbin/reboot --force",
            "sudo -n /bin/sh",
        ):
            assert (await connection.run(command)).exit_status == 1, command
        listed = await connection.run("sudo -n -l -- /usr/bin/systemctl restart demo.service")
        assert (listed.exit_status, listed.stdout) == (0, "/usr/bin/systemctl restart demo.service\n")
        assert (await connection.run("sudo -n -l -- /usr/bin/systemctl restart ssh.service")).exit_status == 1
    with pytest.raises(AssertionError):
        host.allow_by_sudo("watchkeeper ALL=(root NOPASSWD: ALL\n")


async def test_a_runaway_is_known_by_its_pid_and_start_time(host: LinuxHost) -> None:
    runaway = host.start_runaway(ignores_term=True)
    async with login(host) as connection:
        stat = str((await connection.run(f"cat /proc/{runaway.pid}/stat", check=True)).stdout)
        assert int(stat.rpartition(")")[2].split()[19]) == runaway.started_at
        owner = await connection.run(f"ps -o user= -p {runaway.pid}", check=True)
        assert owner.stdout == "app\n"
        denied = await connection.run(f"kill -9 {runaway.pid}")
        assert "Operation not permitted" in str(denied.stderr)
        host.judge.run("kill", "-TERM", str(runaway.pid))
        assert host.judge.started_at(runaway.pid) == runaway.started_at
        host.allow_by_sudo(f"watchkeeper ALL=(app) NOPASSWD: /usr/bin/kill -KILL {runaway.pid}\n")
        await connection.run(f"sudo -n -u app /usr/bin/kill -KILL {runaway.pid}", check=True)
    eventually(lambda: host.judge.started_at(runaway.pid) is None or None, timeout_s=20)


async def test_a_reboot_is_another_boot_of_the_same_host(host: LinuxHost) -> None:
    host.allow_by_sudo(SUDOERS)
    before, machine = host.judge.boot_id(), host.judge.run("cat", "/etc/machine-id")
    host.judge.write("/var/log/app/kept", "as it was")
    async with login(host) as connection:
        seen = await connection.run("cat /proc/sys/kernel/random/boot_id", check=True)
        assert str(seen.stdout).strip() == before
        await connection.run("sudo -n /usr/sbin/reboot", timeout=60)
        await asyncio.wait_for(connection.wait_closed(), 60)
    await asyncio.to_thread(host.wait_until_up, not_boot=before)
    async with login(host) as connection:
        seen = await connection.run("cat /proc/sys/kernel/random/boot_id /var/log/app/kept", check=True)
    assert str(seen.stdout).splitlines() == [host.judge.boot_id(), "as it was"]
    assert host.judge.boot_id() != before
    assert host.judge.run("cat", "/etc/machine-id") == machine
    assert host.judge.run("journalctl", "--list-boots", "--no-pager").count("\n") >= 1
    assert host.judge.unit("demo.service")["ActiveState"] == "active"


async def test_a_lost_connection_leaves_the_command_running(host: LinuxHost) -> None:
    async with login(host) as connection:
        connection.set_keepalive(1, 2)
        command = asyncio.create_task(connection.run("sleep 987 && echo done"))
        [pid] = await asyncio.to_thread(eventually, lambda: host.judge.pids("^sleep 987$"), timeout_s=20)
        with host.cut():
            assert (await asyncio.wait_for(command, 60)).exit_status is None, "how asyncssh says: not known"
            assert host.judge.pids("^sleep 987$") == [pid]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.open_connection(host.address, host.port)
    async with login(host) as connection:
        assert (await connection.run(f"kill {pid}")).exit_status == 0, "the host is reached again"


async def test_a_cut_on_the_way_leaves_the_command_running_too(host: LinuxHost) -> None:
    async with tcp_proxy(host.address, host.port) as proxy:
        async with login(host, through=proxy) as connection:
            command = asyncio.create_task(connection.run("sleep 654"))
            [pid] = await asyncio.to_thread(eventually, lambda: host.judge.pids("^sleep 654$"), timeout_s=20)
            proxy.cut()
            assert (await asyncio.wait_for(command, 60)).exit_status is None
        assert host.judge.pids("^sleep 654$") == [pid]
        host.judge.run("kill", str(pid))
        assert proxy.arrived == 1


async def test_a_proxy_holds_replies_refuses_and_garbles(host: LinuxHost) -> None:
    async with tcp_proxy(host.address, host.port) as proxy:
        async with login(host, through=proxy) as connection:
            with proxy.held(replies_only=True):
                command = asyncio.create_task(connection.run("echo done; touch /tmp/landed"))
                # An SSH client asks for a channel first, and sends the command when that was granted.
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(command), 0.5)
            assert (await asyncio.wait_for(command, 60)).stdout == "done\n"
            assert host.judge.path("/tmp/landed").exists()
        with proxy.garbled(), pytest.raises(asyncssh.Error):
            async with login(host, through=proxy):
                pass
        with proxy.down(), pytest.raises(ConnectionRefusedError):
            async with login(host, through=proxy):
                pass
        async with login(host, through=proxy) as connection:
            assert (await connection.run("true")).exit_status == 0


def test_a_host_that_is_off_has_no_ssh_and_a_second_one_is_another(
    host: LinuxHost, linux_host_installation: Installation, tmp_path: Path
) -> None:
    with linux_host(linux_host_installation, tmp_path / "second", name="app-2") as second:
        assert second.address != host.address
        assert second.host_key != host.host_key
        assert second.judge.run("hostname") == "app-2"
        second.judge.try_run("systemctl", "poweroff")
        eventually(lambda: _is_off(second), timeout_s=60)
    assert host.judge.run("hostname") == host.name


def test_nothing_is_left_when_the_test_process_is_killed(linux_host_installation: Installation, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    boots = [sys.executable, "-c", BOOTS_ONE, str(tmp_path / "orphan")]
    child = subprocess.Popen(
        boots, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    address, keeper, leader = child.stdout.readline().split()
    groups = [hierarchy / f"watchkeeper-testbed-{keeper}" for hierarchy in hierarchies("cgroup", "cgroup2")]
    assert all(group.is_dir() for group in groups)
    assert list(tmp_path.glob("wk-host-*"))
    child.send_signal(signal.SIGKILL)
    child.communicate()

    def gone() -> bool:
        links = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
        alive = [pid for pid in (keeper, leader) if Path("/proc", pid).exists()]
        left = [group for group in groups if group.exists()]
        return not (alive or left or list(tmp_path.glob("wk-host-*")) or f"{address.rpartition('.')[0]}." in links)

    eventually(gone, timeout_s=60)
    loops = subprocess.run(["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in loops


def _in_state(host: LinuxHost, state: str) -> dict[str, str] | None:
    shown = host.judge.unit("demo.service")
    return shown if shown["ActiveState"] == state else None


def _is_off(host: LinuxHost) -> bool:
    try:
        return host.judge.leader < 0
    except HostDown:
        return True
