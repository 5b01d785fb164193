"""tests/packages/kit.py - building packages, a system in a directory, and what is done there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PATIENCE_S = 120  # these tests come behind all others
QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}


def build(kind: str, where: Path) -> list[Path]:
    """Packages of the commit, in a directory of their own."""
    where.mkdir(parents=True, exist_ok=True)
    for old in where.iterdir():
        if old.is_file():
            old.unlink()
    done = subprocess.run(
        [TREE / "tools/package", kind, where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(where.glob(f"*.{kind}"))


class Root:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def debootstrap(cls, path: Path) -> Root:
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", path],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
        proxies = Path("/etc/apt/apt.conf.d")
        for conf in proxies.glob("*proxy*"):
            shutil.copy(conf, path / "etc/apt/apt.conf.d")
        return cls(path)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def command(self, *argv: str | Path) -> list[str]:
        """argv, run inside with a /proc of its own; what it started ends with it."""
        inside = [str(a) for a in argv]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *(f"--mount-proc={self.path}/proc", "chroot", str(self.path), *inside),
        ]

    def run(self, *argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*argv), env=QUIET, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{argv}:\n{done.stdout}{done.stderr}"
        return done

    def install(self, *debs: Path) -> None:
        names = []
        for deb in debs:
            shutil.copy(deb, self.path / "tmp")
            names.append(f"/tmp/{deb.name}")
        self.run("apt-get", "install", "-y", "--no-install-recommends", *names)

    def files(self, word: str) -> set[str]:
        """Every path with word in its name, but what dpkg and apt keep for themselves."""
        found = set()
        for base, dirs, names in os.walk(self.path):
            inside = "/" + os.path.relpath(base, self.path)
            if inside.startswith(("/proc", "/var/lib/dpkg/info", "/var/cache/apt", "/tmp")):
                dirs.clear()
                continue
            found |= {f"{inside}/{n}" for n in dirs + names if word in n}
        return found


class Started:
    """A program that is stopped, and must end well, when the block ends."""

    def __init__(self, argv: list[str], **more: object) -> None:
        self.process = subprocess.Popen(argv, **more)

    def __enter__(self) -> Started:
        return self

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Above those that tests/interop take, and below what the kernel draws from."""
    while True:
        port = random.randrange(30000, 32768)
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def profiles(target: int, key: str) -> tuple[str, int]:
    """A server and its client, as text of a configuration; the port of the client."""
    udp, local = free_port(socket.SOCK_DGRAM), free_port()
    text = (
        f'\n[server there]\nkey = "{key}"\n'
        f"listen = 127.0.0.1:{udp}\ntarget = 127.0.0.1:{target}\n"
        f'\n[client here]\nkey = "{key}"\n'
        f"localaddr = 127.0.0.1:{local}\nremoteaddr = 127.0.0.1:{udp}\n"
    )
    return text, local


def connect(port: int, seconds: float = PATIENCE_S) -> socket.socket:
    """Waits for whoever is to listen there."""
    until = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def passes_data(port: int, size: int = 4 << 20) -> None:
    """What goes in comes back, through a target that echoes."""
    sent, got = os.urandom(size), bytearray()
    with connect(port) as s:
        s.setblocking(False)
        view, until = memoryview(sent), time.monotonic() + 2 * PATIENCE_S
        while len(got) < size:
            assert time.monotonic() < until, f"{len(got)} of {size} bytes came back"
            try:
                if view:
                    view = view[s.send(view[:65536]) :]
            except BlockingIOError:
                pass
            try:
                part = s.recv(65536)
                assert part, f"end after {len(got)} bytes"
                got += part
            except BlockingIOError:
                time.sleep(0.0005)
    assert got == sent
