#!/usr/bin/env python3
"""tests/bench/scrape.py - what scraping costs: one daemon with both ends of a tunnel (and, as many
as asked for, idle profiles beside them) carries a stream as fast as it can; in every second window
its metrics are read once a second. Windows alternate, so that whatever else the machine does meets
both kinds; medians, with the range of the middle half in brackets.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))

# pylint: disable=wrong-import-position
import apps  # noqa: E402
import peers  # noqa: E402


def cpu_s(pid: int) -> tuple[float, float]:
    """Of the main thread, which answers, and of all others."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    took = {t.parent.name: int(t.read_text().split()[0]) / 1e9 for t in tasks}
    main = took.pop(str(pid))
    return main, sum(took.values())


def scrape(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return len(apps.recv_all(s))


Window = tuple[float, float, float]


def measure(pid: int, received: list[int], seconds: int, metrics: Path | None) -> Window:
    """MB/s, CPU seconds of the workers for each GB, and CPU milliseconds of main a second."""
    cpu, got, began = cpu_s(pid), received[0], time.monotonic()
    for i in range(seconds):
        if metrics:
            scrape(metrics)
        time.sleep(max(began + i + 1 - time.monotonic(), 0))
    took, got = time.monotonic() - began, received[0] - got
    main, workers = (now - before for now, before in zip(cpu_s(pid), cpu))
    return got / took / 1e6, workers / (got / 1e9), main * 1000 / took


def show(name: str, values: list[float], unit: str) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{name}: {statistics.median(values):.3f} {unit} [{low:.3f} .. {high:.3f}]"


def sections(metrics: Path, target: str, idle: int) -> tuple[dict[str, dict[str, object]], int]:
    port, server = peers.free_port(), peers.free_port()
    common = {"key": peers.KEY, "nocomp": True}
    conf: dict[str, dict[str, object]] = {
        "global": {"workers": 1, "metrics": metrics},
        "server s": {"listen": f"127.0.0.1:{server}", "target": target, **common},
        "client c": {
            "localaddr": f"127.0.0.1:{port}",
            "remoteaddr": f"127.0.0.1:{server}",
            **common,
        },
    }
    for i in range(idle):
        conf[f"server idle{i}"] = {
            "listen": f"127.0.0.1:{peers.free_port()}",
            "target": target,
            **common,
        }
    return conf, port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=12, help="windows of each kind")
    parser.add_argument("--seconds", type=int, default=2, help="of a window")
    parser.add_argument("--profiles", type=int, default=0, help="idle ones beside the two")
    o = parser.parse_args()
    received = [0]

    def read(s: socket.socket) -> None:
        buffer = bytearray(apps.CHUNK)
        while n := s.recv_into(buffer):
            received[0] += n

    with tempfile.TemporaryDirectory() as place, apps.Service(read) as target:
        metrics = Path(place) / "metrics"
        conf, port = sections(metrics, target.address, o.profiles)
        daemon = peers.Daemon(o.build.resolve(), Path(place), "both", conf)
        with apps.connect(port) as s:
            threading.Thread(target=apps.source, args=(s,), daemon=True).start()
            time.sleep(2)
            rows = [
                [measure(daemon.pid, received, o.seconds, path) for path in (None, metrics)]
                for _ in range(o.pairs)
            ]
            print(f"{scrape(metrics)} bytes a scrape, {o.profiles + 2} profiles")
        daemon.kill()
    kinds = (("rate", "MB/s"), ("CPU of the workers", "s/GB"), ("CPU of main", "ms/s"))
    for i, (name, unit) in enumerate(kinds):
        print(show(f"{name} without", [a[i] for a, _ in rows], unit))
        print(show(f"{name} with", [b[i] for _, b in rows], unit))
        print(show(f"{name} with : without, pair by pair", [b[i] / a[i] for a, b in rows], ""))


if __name__ == "__main__":
    main()
