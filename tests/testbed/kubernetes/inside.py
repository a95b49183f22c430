"""Process 1 of a node's name spaces: `inside.py FOLDER GROUP`, started by keeper.py with nothing but the library.

What the node writes into fixed places of the machine (/run, /var/lib, /var/log) goes into memory that only the node
sees, and kernel settings of the whole machine stay as they are.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

SHADOWED = ("/run", "/var/lib", "/var/log")
"""Here a node sees folders of its own instead of the machine's."""
# A kubelet insists on these, and would set them for the whole machine: it is shown that they are so already.
_WANTED_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main() -> None:
    """Sets the name spaces up, says so, and buries the dead."""
    _run("mount", "--make-rshared", "/")
    for place in SHADOWED:
        _run("mount", "-t", "tmpfs", "-o", "mode=755,size=1g", "watchkeeper-testbed", place)
    _mask_settings(Path("/run"))
    _run("hostname", "testbed-node")
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps what has lost its parent
    while True:
        signal.pause()


def _mask_settings(place: Path) -> None:
    for name, value in _WANTED_SETTINGS.items():
        mask = place / f"setting-{name.replace('/', '-')}"
        mask.write_text(f"{value}\n")
        _run("mount", "--bind", str(mask), f"/proc/sys/{name}")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    main()
