"""tests/packages/kit.py - building packages, a system in a directory, and what is done there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import apps
import peers

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


def newer(deb: Path, where: Path) -> Path:
    """The same package with a higher version, as the next release would be."""
    inside = where / "inside"
    subprocess.run(["dpkg-deb", "-R", deb, inside], check=True)
    control = inside / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+next", control.read_text(), flags=re.M))
    made = where / f"next-{deb.name}"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", inside, made],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(inside)
    return made


class Root:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def debootstrap(cls, path: Path, more: Sequence[str] = ()) -> Root:
        """more: packages beyond those that make a system."""
        shutil.rmtree(path, ignore_errors=True)
        include = [f"--include={','.join(more)}"] if more else []
        subprocess.run(
            ["debootstrap", "--variant=minbase", *include, "bookworm", path],
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
        """argv, run inside with a /proc of its own; all of it ends with the process this begins:
        the shell there stays root, since who becomes another user outlives its parent."""
        inside = ["sh", "-c", '"$@"; exit $?', "sh", *(str(a) for a in argv)]
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

    def install(self, *debs: Path, download_only: bool = False) -> None:
        """download_only: what they ask for lies in apt's cache then."""
        names = []
        for deb in debs:
            shutil.copy(deb, self.path / "tmp")
            names.append(f"/tmp/{deb.name}")
        more = ["--download-only"] if download_only else []
        self.run("apt-get", "install", "-y", "--no-install-recommends", *more, *names)

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


def profiles(target: str, key: str) -> tuple[str, int]:
    """A server and its client, as text of a configuration; the port of the client."""
    udp, local = peers.free_port(), peers.free_port()
    here = {"localaddr": f"127.0.0.1:{local}", "remoteaddr": f"127.0.0.1:{udp}"}
    there = {"listen": f"127.0.0.1:{udp}", "target": target}
    ends = {"server there": there, "client here": here}
    return "\n" + peers.ini({end: {"key": f'"{key}"', **ends[end]} for end in ends}), local


def takes_connections(port: int) -> bool:
    try:
        apps.connect(port, PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def passes_data(port: int) -> None:
    """Both ways at once, through a duplex target."""
    peers.wait_for("a client that listens", lambda: takes_connections(port), PATIENCE_S, 0.1)
    apps.exchange(port, 4 << 20, 4 << 20, 5, PATIENCE_S)
