#!/usr/bin/env python3
"""tests/bench/tunnel.py - one TCP stream through both ends on loopback: ours beside the packaged
peer.

The two kinds run in alternation, so that what else the machine does meets both; medians are
reported. CPU is user and system time of both ends together, per 10^9 payload bytes. The ends share
the machine with the sender, the receiver and each other, so MB/s says little about two machines;
CPU per GB says more. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shlex
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "interop"))

import apps  # noqa: E402
import peers  # noqa: E402

BLOCK = 1 << 20
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    mb_per_s: float
    cpu_per_gb: float
    client_mib: float
    server_mib: float


def cpu_seconds(pid: int) -> float:
    """User and system time so far; fields 14 and 15, counted after the name, which may hold
    blanks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Counter:
    """A target that takes `size` bytes and answers with one byte, so that the sender knows when
    all arrived."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, s: socket.socket) -> None:
        buffer = bytearray(BLOCK)
        left = self.size
        while left > 0:
            n = s.recv_into(buffer)
            if n == 0:
                raise EOFError(f"{left} bytes missing")
            left -= n
        s.sendall(b"!")
        s.recv(1)


def send(port: int, size: int, timeout: float) -> float:
    """Seconds from the first byte written to the answer."""
    block = os.urandom(BLOCK)
    with apps.connect(port, timeout) as s:
        start = time.monotonic()
        for _ in range(size // BLOCK):
            s.sendall(block)
        if apps.recv_exactly(s, 1) != b"!":
            raise AssertionError("wrong answer")
        return time.monotonic() - start


def run(kind: str, args: argparse.Namespace, directory: Path) -> Result:
    directory.mkdir()
    size = args.mib << 20
    opt = peers.Options(
        crypt=args.crypt,
        smuxver=args.smuxver,
        sndwnd=args.window,
        rcvwnd=args.window,
        mode=args.mode,
        datashard=args.datashard,
        parityshard=args.parityshard,
        io=args.io,
        workers=args.workers,
    )
    with apps.Service(Counter(size)) as target:
        with peers.tunnel(args.build, directory, target.address, (kind, opt), (kind, opt)) as t:
            pids = (t.client.pid, t.server.pid)
            before = sum(map(cpu_seconds, pids))
            took = send(t.port, size, args.timeout)
            cpu = sum(map(cpu_seconds, pids)) - before
            return Result(
                size / 1e6 / took, cpu / (size / 1e9), peak_mib(pids[0]), peak_mib(pids[1])
            )


def baseline(mib: int, timeout: float) -> float:
    """The same sender and receiver with nothing between: what Python and the kernel allow."""
    size = mib << 20
    with apps.Service(Counter(size)) as target:
        return size / 1e6 / send(int(target.address.rsplit(":", 1)[1]), size, timeout)


def machine() -> str:
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    kernel = re.match(r"[\d.]+", platform.release())
    return (
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {kernel.group(0) if kernel else platform.release()}"
    )


def median_row(name: str, results: list[Result]) -> str:
    speeds = [r.mb_per_s for r in results]
    return (
        f"| {name} | {statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f}) "
        f"| {statistics.median(r.cpu_per_gb for r in results):.2f} "
        f"| {statistics.median(r.client_mib for r in results):.0f} "
        f"| {statistics.median(r.server_mib for r in results):.0f} |"
    )


def report(args: argparse.Namespace, results: dict[str, list[Result]], bare: float) -> str:
    names = {"ours": "kcptund", "theirs": "kcptun 20210922 (Debian)"}
    fec = f"{args.datashard}/{args.parityshard}" if args.datashard and args.parityshard else "off"
    lines = [
        f"{machine()}; {datetime.date.today().isoformat()}; "
        f"`{shlex.join(['tests/bench/tunnel.py', *sys.argv[1:]])}`.",
        "",
        f"One TCP stream of {args.mib} MiB, crypt {args.crypt}, FEC {fec}, no compression, "
        f"mode {args.mode}, windows {args.window}, smux {args.smuxver}; medians of {args.runs} "
        "runs in alternation (range in brackets). "
        f"Without a tunnel the same sender and receiver reach {bare:.0f} MB/s.",
        "",
        "| program | MB/s | CPU s per GB, both ends | client, MiB at most | server, MiB at most |",
        "|---|---|---|---|---|",
    ]
    lines += [median_row(names[kind], rows) for kind, rows in results.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--build", type=Path, default=Path("build"))
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--mib", type=int, default=512)
    p.add_argument("--crypt", default="aes")
    p.add_argument("--mode", default="fast3")
    p.add_argument("--window", type=int, default=2048)
    p.add_argument("--datashard", type=int, default=10)
    p.add_argument("--parityshard", type=int, default=3)
    p.add_argument("--smuxver", type=int, default=1)
    p.add_argument("--io", default="auto")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--only", choices=("ours", "theirs"))
    p.add_argument("--timeout", type=float, default=120)
    p.add_argument("--out", type=Path, help="also append the table to this file")
    args = p.parse_args()
    args.build = args.build.resolve()
    kinds = [args.only] if args.only else ["ours", "theirs"]
    if "theirs" in kinds and not peers.have_theirs():
        print("the package kcptun (the peer) is not installed", file=sys.stderr)
        return 1
    results: dict[str, list[Result]] = {k: [] for k in kinds}
    bare = baseline(args.mib, args.timeout)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for i in range(args.runs):
            for kind in kinds:
                r = run(kind, args, Path(directory) / f"{kind}-{i}")
                print(
                    f"{kind} {i + 1}/{args.runs}: {r.mb_per_s:.0f} MB/s, "
                    f"{r.cpu_per_gb:.2f} CPU s/GB",
                    file=sys.stderr,
                )
                results[kind].append(r)
    text = report(args, results, bare)
    print(text, end="")
    if args.out:
        with args.out.open("a") as f:
            f.write("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
