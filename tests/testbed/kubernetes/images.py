"""Container images without a registry: one layer, made of files of this machine, as an archive that containerd loads.

They are for tests alone: no history, no signatures, and only the architecture of this machine's Python, amd64.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

BUSYBOX = "localhost/busybox:1"
PAUSE = "localhost/pause:3.2"
_BUSYBOX_LINKS = ("sh", "sleep", "ls", "cat", "wget", "httpd", "env", "tail", "true", "false")
_FOLDERS = ("bin", "etc", "tmp", "proc", "sys", "dev", "www", "var", "var/run")
_USERS = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": b"root:x:0:\napp:x:1000:\n",
}
_LIBRARY = re.compile(r"(?:=>\s*)?(/\S+)\s+\(0x")
_NOT_NEEDED = ("site-packages", "dist-packages", "config-*", "test", "idlelib", "tkinter", "lib2to3", "ensurepip")


@dataclass(frozen=True)
class Image:
    """What is in an image, and how it starts."""

    reference: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path in the image -> file or folder of this machine."""
    links: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    user: str = ""
    folder: str = "/"


def busybox() -> Image:
    """Debian's static busybox: a shell and what a pod of a test needs, an HTTP server among it."""
    links = {f"/bin/{name}": "/bin/busybox" for name in _BUSYBOX_LINKS}
    return Image(BUSYBOX, files={"/bin/busybox": Path("/bin/busybox")}, links=links)


def pause(program: Path) -> Image:
    """What holds a pod's name spaces."""
    return Image(PAUSE, files={"/pause": program}, entrypoint=["/pause"])


def python(reference: str, folders: Mapping[str, Path], *, user: str = "1000") -> Image:
    """This process's Python with its shared libraries, and busybox. `folders` (path in the image -> folder, such as a
    virtual environment's site-packages) are where it looks for modules."""
    executable = Path(sys.executable).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sys.base_prefix) / "lib" / version
    compiled = [found for folder in (library / "lib-dynload", *folders.values()) for found in folder.rglob("*.so*")]
    files = {str(executable): executable, **folders}
    files |= {str(part): part for part in library.iterdir() if not any(map(part.match, _NOT_NEEDED))}
    inside = [folder.resolve() for folder in folders.values()]
    shared = _shared_libraries([executable, *compiled])
    files |= {str(each): each for each in shared if not any(map(each.resolve().is_relative_to, inside))}
    small = busybox()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(folders), "PYTHONUNBUFFERED": "1"}
    links = {**small.links, "/usr/bin/python3": str(executable)}
    return Image(reference, {**small.files, **files}, links, ["/usr/bin/python3"], environment, user, "/tmp")


def write_image(image: Image, target: Path) -> Path:
    """Make the archive at `target`."""
    with tempfile.NamedTemporaryFile(dir=target.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w") as archive:
            _fill(archive, image)
        layer.flush()
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        config = _config(image, digest)
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        blob = f"{digest}/layer.tar"
        manifest = json.dumps([{"Config": name, "RepoTags": [image.reference], "Layers": [blob]}]).encode()
        with tarfile.open(target, mode="w") as archive:
            _add(archive, name, io.BytesIO(config), len(config))
            size = layer.seek(0, io.SEEK_END)
            layer.seek(0)
            _add(archive, blob, layer, size)
            _add(archive, "manifest.json", io.BytesIO(manifest), len(manifest))
    return target


def _fill(archive: tarfile.TarFile, image: Image) -> None:
    made: set[str] = set()
    for folder in _FOLDERS:
        _folder(archive, folder, made)
    for name, content in _USERS.items():
        _add(archive, name, io.BytesIO(content), len(content))
    for place, path in image.files.items():
        inside = place.lstrip("/")
        _folder(archive, str(Path(inside).parent), made)
        archive.add(path.resolve(), arcname=inside, filter=_anonymous)
    for place, aim in image.links.items():
        link = tarfile.TarInfo(place.lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, aim
        _folder(archive, str(Path(link.name).parent), made)
        archive.addfile(link)


def _folder(archive: tarfile.TarFile, path: str, made: set[str]) -> None:
    """A folder and those it lies in, each once."""
    for each in [*reversed(Path(path).parents), Path(path)]:
        name = str(each)
        if name not in made and name != ".":
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
            made.add(name)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root and readable by all. The date stays: Python holds its compiled modules against it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o055 if entry.isdir() else 0o044
    return entry


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    archive.addfile(entry, content)


def _config(image: Image, layer: str) -> bytes:
    settings = {
        "Entrypoint": list(image.entrypoint),
        "Env": [f"{name}={value}" for name, value in image.environment.items()],
        "WorkingDir": image.folder,
        "User": image.user,
    }
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created_by": "watchkeeper testbed"}],
    }
    return json.dumps(document).encode()


def _shared_libraries(programs: Iterable[Path]) -> list[Path]:
    """What the dynamic loader would load for them, the loader included."""
    listed = subprocess.run(
        ["ldd", *(str(path) for path in programs)], capture_output=True, text=True, timeout=120, check=False
    )
    return sorted({Path(found) for found in _LIBRARY.findall(listed.stdout) if Path(found).is_file()})
