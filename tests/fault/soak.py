#!/usr/bin/env python3
"""tests/fault/soak.py - many connections for a long time over a bad link: every byte checked,
memory flat.

Fifty connections at once, each ending and being replaced again and again with exchanges of very
different sizes, through a relay that loses, doubles and shuffles. Fails on a wrong byte, a
connection that ends or stalls, a daemon whose memory still grows after the warm-up, or a sanitizer
report. --ends theirs runs the packaged peer instead, to tell faults of the test from ours.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "interop"))

import apps  # noqa: E402
import peers  # noqa: E402

SIZES = (1, 300, 5000, 60000, 400000, 3000000)
WEIGHTS = (20, 30, 20, 15, 10, 5)
SEEDS = 8
MIB = 1 << 20
# The address sanitizer keeps what is freed until it has 256 MiB of it; a minute of slabs that come
# and go does not reach that, and all of it would look like growth.
QUARANTINE = ":quarantine_size_mb=8:thread_local_quarantine_size_kb=64"


@dataclass
class Tally:
    """What all connections did; the lock guards every field."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    exchanges: int = 0
    bytes_moved: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, size: int) -> None:
        with self.lock:
            self.exchanges += 1
            self.bytes_moved += size

    def fail(self, text: str) -> None:
        with self.lock:
            self.errors.append(text)


def keep_busy(port: int, number: int, end: float, tally: Tally, stall_s: float) -> None:
    """One of the connections: exchanges until the time is up, or until something goes wrong
    anywhere."""
    rng = random.Random(number)
    while time.monotonic() < end and not tally.errors:
        up, down = rng.choices(SIZES, WEIGHTS, k=2)
        seed = rng.randrange(SEEDS) * 2
        try:
            apps.exchange(port, up, down, seed, stall_s)
        except Exception as e:  # pylint: disable=broad-except
            tally.fail(
                f"connection {number}: {up} up, {down} down, seed {seed}: {type(e).__name__}: {e}"
            )
            return
        tally.add(up + down)


def resident(pid: int) -> int:
    """Bytes of RAM of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass
class Memory:
    """A daemon's resident memory over time, one sample a second."""

    name: str
    pid: int
    samples: list[int] = field(default_factory=list)

    def sample(self) -> None:
        self.samples.append(resident(self.pid))

    def verdict(self, slack: int) -> str | None:
        """The last quarter's median may exceed the second quarter's by a tenth and the slack."""
        quarter = len(self.samples) // 4
        if quarter < 3:
            return f"{self.name}: too few samples ({len(self.samples)})"
        early = statistics.median(self.samples[quarter : 2 * quarter])
        late = statistics.median(self.samples[-quarter:])
        print(
            f"{self.name}: resident {early / MIB:.1f} MiB early, {late / MIB:.1f} MiB late, "
            f"{max(self.samples) / MIB:.1f} MiB at most"
        )
        if late > early * 1.1 + slack:
            return f"{self.name}: memory grows: {early / MIB:.1f} MiB, later {late / MIB:.1f} MiB"
        return None


def soak(args: argparse.Namespace, directory: Path) -> list[str]:
    opt = peers.Options(
        smuxver=args.smuxver,
        nocomp=not args.comp,
        conn=args.conn,
        workers=args.workers,
        io=args.io,
        ours_only={"peertimeout": args.stall},  # a machine that is busy otherwise is no dead peer
    )
    tally = Tally()
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(
            args.build,
            directory,
            target.address,
            (args.ends, opt),
            (args.ends, opt),
            mangle={"both": args.link},
            seed=args.seed,
        ) as t:
            memory = [Memory("client", t.client.pid), Memory("server", t.server.pid)]
            end = time.monotonic() + args.seconds
            threads = [
                threading.Thread(
                    target=keep_busy, args=(t.port, i, end, tally, args.stall), daemon=True
                )
                for i in range(args.connections)
            ]
            for thread in threads:
                thread.start()
            while time.monotonic() < end and not tally.errors:
                for m in memory:
                    m.sample()
                for process in (t.client, t.server, t.mangler):
                    if not process.running():
                        tally.fail(f"{process.name} ended\n{process.tail()}")
                time.sleep(1)
            for thread in threads:
                thread.join(args.stall)
                if thread.is_alive():
                    tally.fail("a connection hangs")
                    break
            if args.ends == "ours":
                for end_point in (t.client, t.server):
                    count = end_point.counters("t")
                    if count["ProtoErrors"] or count["DeadPeers"]:
                        tally.fail(f"{end_point.name}: {count}")
        assert t.mangler
        print(
            f"{tally.exchanges} exchanges, {tally.bytes_moved / MIB:.0f} MiB checked; "
            f"relay: {t.mangler.report()}"
        )
    if tally.errors:
        return tally.errors
    return [v for v in (m.verdict(int(args.slack * MIB)) for m in memory) if v]


def main() -> int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--build", type=Path, default=Path("build"))
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--conn", type=int, default=2)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--io", default="auto")
    p.add_argument("--ends", choices=("ours", "theirs"), default="ours")
    p.add_argument("--smuxver", type=int, default=2)
    p.add_argument("--comp", action="store_true", help="compress")
    p.add_argument("--link", default="loss=2,dup=1,reorder=2")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument(
        "--stall", type=int, default=60, help="seconds after which a connection counts as stalled"
    )
    p.add_argument("--slack", type=float, default=8, help="MiB that memory may grow beyond a tenth")
    args = p.parse_args()
    args.build = args.build.resolve()
    peers.SANITIZER_ENV["ASAN_OPTIONS"] += QUARANTINE
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        try:
            errors = soak(args, Path(directory))
        except (AssertionError, OSError) as e:
            errors = [f"{type(e).__name__}: {e}"]
    for line in errors[:20]:
        print(f"FAILED: {line}")
    print("soak: failed" if errors else "soak: fine")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
