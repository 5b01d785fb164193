#!/usr/bin/env python3
"""tests/bench/sender_report.py - senders beside each other over kcptun-linkem: ours, kcptun's, and
the kernel's TCP without a tunnel. Bulk and a thin echo on a link of 100 Mbit/s, 50 ms each way and
a queue of 50 ms, at several losses; results as JSON, Markdown tables and SVG (sender_plot.py).
Needs root, and the package kcptun for its column.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sender_plot

RATE_MBIT, DELAY_MS, QUEUE_MS = 100, 50, 50
LINK = ["--rate", f"{RATE_MBIT}mbit", "--delay", f"{DELAY_MS}ms", "--queue", f"{QUEUE_MS}ms"]
PAYLOAD_SHARE = 0.942  # of a full datagram
TRACE_MS = 20
LOCAL, REMOTE, TARGET = 6000, 6001, 6002
SERVER_ADDRESS = "198.18.0.2"
ECHO_BYTES, ECHO_EVERY_S = 200, 0.02
READY_S = 15.0
CHUNK = bytes(65536)
CLONE_NEWNET = 0x40000000
TCP_CONGESTION = 13
libc = ctypes.CDLL(None, use_errno=True)

ROWS = {  # name: loss in percent, mean run
    "0 %": (0, 1),
    "1 %": (1, 1),
    "5 %": (5, 1),
    "10 %": (10, 1),
    "20 %": (20, 1),
    "5 %, runs of 4": (5, 4),
}
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
}


class Failed(Exception):
    """Why a cell of the table stays empty."""


@dataclass
class Times:
    warm_s: float
    bulk_s: float
    echo_s: float


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

    def __init__(self, space: Path) -> None:
        self.received = 0
        self.listener = inside(space, socket.socket)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", TARGET))
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
                self.received += n
                if echo:
                    s.sendall(memoryview(buffer)[:n])
        except OSError:
            pass
        s.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Cell:
    """One program on one link: linkem, both ends of a tunnel if there is one, the target."""

    def __init__(self, build: Path, directory: Path, program: str, row: str, seed: int) -> None:
        self.build, self.directory, self.program = build, directory, program
        self.processes: list[subprocess.Popen[bytes]] = []
        self.name = f"report{os.getpid()}"
        self.spaces = [Path(f"/run/netns/{self.name}-{end}") for end in "ab"]
        self.trace = directory / "trace"
        self.target: Target | None = None
        self.loss, self.burst = ROWS[row]
        self.seed = seed

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
        argv = [str(self.build / "tools/kcptun-linkem"), "--name", self.name, *LINK]
        argv += ["--seed", str(self.seed), "--loss", f"{self.loss}%", "--burst", str(self.burst)]
        argv += ["--trace", str(self.trace), "--trace-every", str(TRACE_MS), "-q"]
        self.spawn("linkem", argv)
        self.wait("the link", lambda: self.trace.exists() and self.trace.stat().st_size > 0)
        self.target = Target(self.spaces[1])
        if "client" in PROGRAMS[self.program]:
            self.start("server", self.spaces[1], listen=f":{REMOTE}", target=f"127.0.0.1:{TARGET}")
            self.start(
                "client",
                self.spaces[0],
                localaddr=f"127.0.0.1:{LOCAL}",
                remoteaddr=f"{SERVER_ADDRESS}:{REMOTE}",
            )
            self.wait("the tunnel", self.tunnel_is_up)

    def spawn(self, what: str, argv: list[str]) -> None:
        with (self.directory / f"{what}.log").open("wb") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def start(self, role: str, space: Path, **addresses: str) -> None:
        program, keys = PROGRAMS[self.program][role]
        keys = {**keys, **addresses}
        if program == "kcptund":
            conf = self.directory / f"{role}.ini"
            lines = [f"{k} = {str(v).lower() if v is True else v}" for k, v in keys.items()]
            head = f"[global]\nworkers = 1\ncontrol = {self.directory}/{role}.ctl\n[{role} t]\n"
            conf.write_text(head + "\n".join(lines) + "\n")
            conf.chmod(0o600)
            argv = [str(self.build / "daemon/kcptund"), "-c", str(conf)]
        else:
            argv = [f"kcptun-{role}"]
            for name, value in keys.items():
                argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.spawn(role, ["nsenter", f"--net={space}", *argv])

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_S
        while not ready():
            for process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"{process.args} ended with {process.returncode}")
            if time.monotonic() > until:
                raise Failed(f"{what} is not ready after {READY_S:g} s")
            time.sleep(0.05)

    def tunnel_is_up(self) -> bool:
        """A byte goes there and back: the first packets of a session may be lost as any."""
        try:
            with self.connect(b"e", timeout=5) as s:
                s.sendall(b"?")
                return s.recv(1) == b"?"
        except OSError:
            return False

    def connect(self, kind: bytes, timeout: float) -> socket.socket:
        congestion = PROGRAMS[self.program].get("congestion")
        s = inside(self.spaces[0], socket.socket)
        if congestion:
            s.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, congestion.encode())
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.settimeout(timeout)
        s.connect((SERVER_ADDRESS, TARGET) if congestion else ("127.0.0.1", LOCAL))
        s.sendall(kind)
        return s

    def wire_bytes(self) -> int:
        """Sent by both ends so far, by the last whole lines of the trace."""
        with self.trace.open("rb") as f:
            f.seek(max(0, self.trace.stat().st_size - 1000))
            lines = f.read().split(b"\n")[1:-1]
        last = {line.split()[1]: int(line.split()[3]) for line in lines}
        return sum(last.values())

    def bulk(self, times: Times) -> dict[str, Any]:
        assert self.target
        s = self.connect(b"s", timeout=60)
        stop = threading.Event()

        def pump() -> None:
            while not stop.is_set():
                try:
                    s.sendall(CHUNK)
                except OSError:
                    return

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        time.sleep(times.warm_s)
        received, wire, begin = self.target.received, self.wire_bytes(), time.monotonic()
        time.sleep(times.bulk_s)
        received, wire = self.target.received - received, self.wire_bytes() - wire
        took = time.monotonic() - begin
        stop.set()
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        thread.join(5)
        lines = [line.split() for line in self.trace.read_text().splitlines()]
        queue = [(float(v[0]), int(v[2]) / 1000) for v in lines if len(v) == 7 and v[1] == "a-b"]
        queue = queue[-round((times.warm_s + times.bulk_s) * 1000 / TRACE_MS) :]
        tail = sorted(q for _, q in queue[round(times.warm_s * 1000 / TRACE_MS) :])
        return {
            "mbit_s": received * 8 / took / 1e6,
            "wire_per_byte": wire / received if received else None,
            "queue_mean_ms": sum(tail) / len(tail),
            "queue_p95_ms": tail[len(tail) * 95 // 100],
            "queue": [[round(t - queue[0][0], 3), round(q, 2)] for t, q in queue],
        }

    def echo(self, times: Times) -> dict[str, Any]:
        s = self.connect(b"e", timeout=20)
        count = round(times.echo_s / ECHO_EVERY_S)
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
        s.close()
        if len(took) < count * 0.9:
            raise Failed(f"{len(took)} of {count} echoes came back")
        took.sort()
        at = {f"p{p}_ms": took[len(took) * p // 100] for p in (50, 90, 99)}
        return {**at, "sorted_ms": [round(v, 1) for v in took]}

    def close(self) -> None:
        if self.target:
            self.target.close()
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()



def measure(build: Path, program: str, row: str, times: Times, seed: int) -> dict[str, Any]:
    """Bulk and echo, each on a link of its own. A part that fails says why and is left out."""
    result: dict[str, Any] = {"program": program, "row": row, "loss": ROWS[row][0]}
    result["burst"], result["seed"], result["failed"] = ROWS[row][1], seed, {}
    for part in ("bulk", "echo"):
        with tempfile.TemporaryDirectory(prefix="sender-report-") as directory:
            try:
                with Cell(build, Path(directory), program, row, seed) as made:
                    result[part] = getattr(made, part)(times)
            except (Failed, OSError) as error:
                result["failed"][part] = str(error)
    if "bulk" in result:
        limit = RATE_MBIT * PAYLOAD_SHARE * (1 - ROWS[row][0] / 100)
        result["bulk"]["share"] = result["bulk"]["mbit_s"] / limit
    return result


def machine() -> dict[str, Any]:
    cpu = next(
        (v.split(":", 1)[1].strip() for v in Path("/proc/cpuinfo").open() if "model name" in v), "?"
    )
    return {
        "processor": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "linux": platform.release(),
        "load": round(os.getloadavg()[0], 1),
    }


def usable(program: str) -> str | None:
    """Why a program cannot be measured here; None: it can."""
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    congestion = PROGRAMS[program].get("congestion")
    if congestion and congestion not in available:
        return f"the kernel has no {congestion} (modprobe tcp_{congestion})"
    for role in ("client", "server"):
        theirs = PROGRAMS[program].get(role, ("",))[0] == "kcptun"
        if theirs and not shutil.which(f"kcptun-{role}"):
            return "the package kcptun is not installed"
    return None


def names(value: str, known: dict[str, Any], what: str) -> list[str]:
    chosen = [v.strip() for v in value.split(";")] if value else list(known)
    for name in chosen:
        if name not in known:
            sys.exit(f"{what}: {name!r} is none of: {'; '.join(known)}")
    return chosen


def options() -> argparse.Namespace:
    o = argparse.ArgumentParser(description=__doc__)
    o.add_argument("--build", type=Path, default=Path("build"), help="build directory")
    o.add_argument("--quick", action="store_true", help="a look: 4 s of bulk, 4 s of echo")
    o.add_argument("--runs", type=int, default=1, help="measurements of each, other seeds each")
    o.add_argument("--rows", default="", help="some of: " + "; ".join(ROWS).replace("%", "%%"))
    o.add_argument("--programs", default="", help="some of: " + "; ".join(PROGRAMS))
    o.add_argument("--json", type=Path, help="write the results to it")
    o.add_argument("--from", dest="source", type=Path, help="measure nothing: show such a file")
    o.add_argument("--svg", type=Path, help="draw them")
    o.add_argument("--docs", type=Path, help="put the tables between the markers of this file")
    return o.parse_args()


def run_all(o: argparse.Namespace) -> dict[str, Any]:
    times = Times(2, 4, 4) if o.quick else Times(2, 8, 20)
    report: dict[str, Any] = {
        "format": 1,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "quick": o.quick,
        "results": [],
        "skipped": {},
    }
    rows, programs = names(o.rows, ROWS, "--rows"), names(o.programs, PROGRAMS, "--programs")
    for program in programs:
        if reason := usable(program):
            report["skipped"][program] = reason
    programs = [p for p in programs if p not in report["skipped"]]
    for seed in range(1, o.runs + 1):
        for row in rows:
            for program in programs:
                result = measure(o.build.resolve(), program, row, times, seed)
                report["results"].append(result)
                print(sender_plot.one_line(result), file=sys.stderr, flush=True)
                if o.json:
                    o.json.write_text(json.dumps(report) + "\n")
    return report


def main() -> int:
    o = options()
    if not o.source and os.geteuid():
        sys.exit("sender_report.py: network namespaces need root")
    report = json.loads(o.source.read_text()) if o.source else run_all(o)
    text = sender_plot.markdown(report)
    if o.svg:
        o.svg.write_text(sender_plot.svg(report))
    if o.docs:
        sender_plot.put_between_markers(o.docs, text)
    else:
        print(text)
    return 1 if any(r["failed"] for r in report["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())
