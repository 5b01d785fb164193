"""tests/interop/netns.py - namespaces that a test makes and removes, wired by veth pairs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

CLONE_NEWNET = 0x40000000
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout


class Net:
    """Namespaces by short names; gone with the block."""

    def __init__(self, *names: str) -> None:
        if os.geteuid() or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
            pytest.skip("network namespaces are not allowed here")
        self.names = {name: f"kcptest{os.getpid()}{name}" for name in names}

    def __enter__(self) -> Net:
        for name in self.names:
            run("ip", "netns", "add", self.names[name])
            self.ip(name, "link set lo up")
            for key in ("all", "default"):
                path = f"/proc/sys/net/ipv4/conf/{key}/rp_filter"
                self.within(name, lambda p=path: _write(p, "0"))
        return self

    def __exit__(self, *_: object) -> None:
        for full in self.names.values():
            subprocess.run(["ip", "netns", "del", full], capture_output=True, check=False)

    def ip(self, name: str, command: str) -> str:
        return run("ip", "-n", self.names[name], *command.split())

    def wire(self, a: str, dev_a: str, ip_a: str, b: str, dev_b: str, ip_b: str) -> None:
        """A veth pair between a and b, up, with an address at each end."""
        run(
            *f"ip -n {self.names[a]} link add {dev_a} type veth".split(),
            *f"peer name {dev_b} netns {self.names[b]}".split(),
        )
        for here, dev, address in ((a, dev_a, ip_a), (b, dev_b, ip_b)):
            self.ip(here, f"addr add {address} dev {dev}")
            self.ip(here, f"link set {dev} up")

    def via(self, name: str) -> tuple[str, ...]:
        """In front of a command."""
        return ("nsenter", f"--net=/run/netns/{self.names[name]}")

    def within(self, name: str, call: Callable[[], T]) -> T:
        """call() in a thread that lives there: the sockets it opens belong to the namespace."""
        result: list[Any] = []

        def body() -> None:
            fd = os.open(f"/run/netns/{self.names[name]}", os.O_RDONLY)
            try:
                if _libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                result.append((call(), None))
            except BaseException as e:  # pylint: disable=broad-except
                result.append((None, e))
            finally:
                os.close(fd)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
