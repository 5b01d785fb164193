"""tests/bench/sender_cell.py - programs at the two ends of a link that kcptun-linkem emulates, and
the applications that load them: bulk, and an echo of small messages. What is measured, and on which
links, is not known here (sender_report.py, sender_scenes.py)."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRACE_MS = 20
LOCAL, REMOTE, TARGET = 6000, 6100, 6200  # and one more for each program
SERVER_ADDRESS = "198.18.0.2"
ECHO_BYTES, ECHO_EVERY_S = 200, 0.02
READY_S = 15.0
CHUNK = bytes(65536)
CLONE_NEWNET = 0x40000000
TCP_CONGESTION = 13
libc = ctypes.CDLL(None, use_errno=True)
number = itertools.count()

COMMON = {"crypt": "aes", "key": "a key for a link that is emulated", "nocomp": True}
KCPTUN = {**COMMON, "mode": "fast3", "sndwnd": 1024, "rcvwnd": 1024, "smuxver": 1}
OURS = {**COMMON, "mode": "auto"}
PROGRAMS: dict[str, dict[str, Any]] = {
    "ours": {"client": ("kcptund", OURS), "server": ("kcptund", OURS)},
    "ours to kcptun": {
        "client": ("kcptund", {**OURS, "smuxver": 1}),
        "server": ("kcptun", {**KCPTUN, "rcvwnd": 4096}),
    },
    "kcptun": {"client": ("kcptun", KCPTUN), "server": ("kcptun", KCPTUN)},
    "TCP BBR": {"congestion": "bbr"},
    "TCP CUBIC": {"congestion": "cubic"},
    "ours, no copies": {
        "client": ("kcptund", {**OURS, "redundancy": 1}),
        "server": ("kcptund", {**OURS, "redundancy": 1}),
    },
}


class Failed(Exception):
    """Why a measurement has no result."""


def inside(path: Path, work: Callable[[], Any]) -> Any:
    """work() on a thread in that network namespace; a socket made there belongs there for good."""
    result: list[Any] = []

    def run() -> None:
        with path.open() as space:
            if libc.setns(space.fileno(), CLONE_NEWNET) == 0:
                result.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if not result:
        raise Failed(f"cannot work in {path}")
    return result[0]


class Target:
    """The application at the far end: the first byte of a connection says echo, or sink."""

    def __init__(self, space: Path, port: int) -> None:
        self.received = 0
        self.listener = inside(space, socket.socket)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s: socket.socket) -> None:
        buffer = bytearray(1 << 18)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            echo = s.recv(1) == b"e"
            while n := s.recv_into(buffer):
                if echo:
                    s.sendall(memoryview(buffer)[:n])
                else:
                    self.received += n
        except OSError:
            pass
        s.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Cell:
    """A link, and programs beside each other on it: both ends of each that is a tunnel, and a
    target for each. `link`: arguments of kcptun-linkem."""

    def __init__(
        self, build: Path, directory: Path, link: list[str], programs: list[str], seed: int = 1
    ) -> None:
        self.build, self.directory, self.programs = build, directory, programs
        self.link = [*link, "--seed", str(seed)]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.name = f"report{os.getpid()}-{next(number)}"
        self.spaces = [Path(f"/run/netns/{self.name}-{end}") for end in "ab"]
        self.trace = directory / "trace"
        self.targets: list[Target] = []

    def __enter__(self) -> Cell:
        try:
            self.begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        self.trace.unlink(missing_ok=True)
        argv = [str(self.build / "tools/kcptun-linkem"), "--name", self.name, *self.link]
        argv += ["--trace", str(self.trace), "--trace-every", str(TRACE_MS), "-q"]
        self.spawn("linkem", argv)
        self.wait("the link", lambda: self.trace.exists() and self.trace.stat().st_size > 0)
        self.began = time.monotonic()
        for i, program in enumerate(self.programs):
            self.targets.append(Target(self.spaces[1], TARGET + i))
            if "client" in PROGRAMS[program]:
                self.start_tunnel(i, program)

    def start_tunnel(self, i: int, program: str) -> None:
        ends = PROGRAMS[program]
        far = {"listen": f":{REMOTE + i}", "target": f"127.0.0.1:{TARGET + i}"}
        near = {"localaddr": f"127.0.0.1:{LOCAL + i}"}
        near["remoteaddr"] = f"{SERVER_ADDRESS}:{REMOTE + i}"
        self.start(f"server{i}", "server", self.spaces[1], *ends["server"], far)
        self.start(f"client{i}", "client", self.spaces[0], *ends["client"], near)
        self.wait("the tunnel", lambda: self.tunnel_is_up(i))

    def spawn(self, what: str, argv: list[str]) -> None:
        with (self.directory / f"{what}.log").open("wb") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def start(
        self, name: str, role: str, space: Path, program: str, keys: dict, addresses: dict
    ) -> None:
        keys = {**keys, **addresses}
        if program == "kcptund":
            conf = self.directory / f"{name}.ini"
            lines = [f"{k} = {str(v).lower() if v is True else v}" for k, v in keys.items()]
            head = f"[global]\nworkers = 1\ncontrol = {self.directory}/{name}.ctl\n[{role} t]\n"
            conf.write_text(head + "\n".join(lines) + "\n")
            conf.chmod(0o600)
            argv = [str(self.build / "daemon/kcptund"), "-c", str(conf)]
        else:
            argv = [f"kcptun-{role}"]
            for key, value in keys.items():
                argv += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        self.spawn(name, ["nsenter", f"--net={space}", *argv])

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_S
        while not ready():
            for process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"{process.args} ended with {process.returncode}")
            if time.monotonic() > until:
                raise Failed(f"{what} is not ready after {READY_S:g} s")
            time.sleep(0.05)

    def tunnel_is_up(self, i: int) -> bool:
        """A byte goes there and back: the first packets of a session may be lost as any."""
        try:
            with self.connect(i, b"e", timeout=5) as s:
                s.sendall(b"?")
                return s.recv(1) == b"?"
        except OSError:
            return False

    def connect(self, i: int, kind: bytes, timeout: float) -> socket.socket:
        """To the target of program i: b"s" for a sink, b"e" for an echo."""
        congestion = PROGRAMS[self.programs[i]].get("congestion")
        s = inside(self.spaces[0], socket.socket)
        if congestion:
            s.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, congestion.encode())
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.settimeout(timeout)
        s.connect((SERVER_ADDRESS, TARGET + i) if congestion else ("127.0.0.1", LOCAL + i))
        s.sendall(kind)
        return s

    def received(self) -> list[int]:
        return [target.received for target in self.targets]

    def wire_bytes(self) -> int:
        """Sent by both ends so far, by the last whole lines of the trace."""
        with self.trace.open("rb") as f:
            f.seek(max(0, self.trace.stat().st_size - 1000))
            lines = f.read().split(b"\n")[1:-1]
        last = {line.split()[1]: int(line.split()[3]) for line in lines}
        return sum(last.values())

    def queue(self, seconds: float) -> list[tuple[float, float]]:
        """What bulk met in front of the bottleneck, the last seconds of it: (s, ms)."""
        lines = [line.split() for line in self.trace.read_text().splitlines()]
        there = [v for v in lines if len(v) == 7 and v[1] == "a-b"]
        return [(float(v[0]), int(v[2]) / 1000) for v in there[-round(seconds * 1000 / TRACE_MS) :]]

    def close(self) -> None:
        for target in self.targets:
            target.close()
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Bulk:
    """As much as goes through program i, until the end of the block."""

    def __init__(self, cell: Cell, i: int = 0) -> None:
        self.s = cell.connect(i, b"s", timeout=60)
        self.stop = threading.Event()
        self.failed = ""
        self.thread = threading.Thread(target=self.pump, daemon=True)

    def pump(self) -> None:
        while not self.stop.is_set():
            try:
                self.s.sendall(CHUNK)
            except OSError as error:
                self.failed = "" if self.stop.is_set() else str(error)
                return

    def __enter__(self) -> Bulk:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself
        self.s.close()
        self.thread.join(5)


def echo_times(s: socket.socket, count: int) -> list[float]:
    """How long each of so many messages took there and back, in ms, in order of sending."""
    sent: list[float] = []
    took: list[float] = []

    def answers() -> None:
        got = 0
        while len(took) < count:
            try:
                part = len(s.recv(65536))
            except OSError:
                return
            if not part:
                return
            got += part
            while len(took) < got // ECHO_BYTES:
                took.append((time.monotonic() - sent[len(took)]) * 1000)

    thread = threading.Thread(target=answers)
    thread.start()
    begin = time.monotonic()
    for i in range(count):
        time.sleep(max(0.0, begin + i * ECHO_EVERY_S - time.monotonic()))
        sent.append(time.monotonic())
        s.sendall(bytes(ECHO_BYTES))
    thread.join(20)
    if len(took) < count * 0.9:
        raise Failed(f"{len(took)} of {count} echoes came back")
    return took


def percentiles(took: list[float]) -> dict[str, Any]:
    took = sorted(took)
    at = {f"p{p}_ms": took[len(took) * p // 100] for p in (50, 90, 99)}
    return {**at, "sorted_ms": [round(v, 1) for v in took]}
