#!/usr/bin/env python3
"""tests/bench/sender_report.py - senders beside each other over kcptun-linkem: ours, kcptun's, and
the kernel's TCP, without a tunnel or in competition with ours. Bulk and small messages at several
losses, other paths, paths that change, flows that share one; results as JSON, Markdown tables and
SVG (sender_plot.py). Needs root, and the package kcptun for its columns.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sender_plot
import sender_scenes
from sender_cell import PROGRAMS
from sender_scenes import Scene


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


def unusable(program: str) -> str | None:
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


def names(value: str, known: list[str], what: str) -> list[str]:
    chosen = [v.strip() for v in value.split(";")] if value else known
    for name in chosen:
        if name not in known:
            sys.exit(f"{what}: {name!r} is none of: {'; '.join(known)}")
    return chosen


def options() -> argparse.Namespace:
    o = argparse.ArgumentParser(description=__doc__)
    parts, programs = "; ".join(sender_scenes.PARTS), "; ".join(PROGRAMS)
    o.add_argument("--build", type=Path, default=Path("build"), help="build directory")
    o.add_argument("--quick", action="store_true", help="a look: less of everything")
    o.add_argument("--runs", type=int, default=1, help="measurements of each, other seeds each")
    o.add_argument("--parts", default="", help=f"some of: {parts}")
    o.add_argument("--rows", default="", help="only these rows of them, as named in the tables")
    o.add_argument("--programs", default="", help=f"only what these take part in: {programs}")
    o.add_argument("--json", type=Path, help="write the results to it")
    o.add_argument("--from", dest="source", type=Path, help="measure nothing: show such a file")
    o.add_argument("--svg", type=Path, help="draw them")
    o.add_argument("--docs", type=Path, help="put the tables between the markers of this file")
    return o.parse_args()


def chosen_scenes(o: argparse.Namespace, skipped: dict[str, str]) -> list[Scene]:
    parts = names(o.parts, list(sender_scenes.PARTS), "--parts")
    scenes = [scene for part in parts for scene in sender_scenes.PARTS[part](o.quick)]
    rows = names(o.rows, list(dict.fromkeys(s.row for s in scenes)), "--rows")
    programs = set(names(o.programs, list(PROGRAMS), "--programs")) - set(skipped)
    return [s for s in scenes if s.row in rows and programs.issuperset(s.programs)]


def results_of(o: argparse.Namespace, scenes: list[Scene]) -> Iterator[dict[str, Any]]:
    """One scene after another, but the light ones of a row at the same time."""

    def alone(scene: Scene) -> tuple[Any, ...]:
        together = scene.part in sender_scenes.LIGHT
        return (scene.part, scene.row) if together else (scene,)

    def one(scene: Scene) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="sender-report-") as directory:
            return sender_scenes.measure(o.build.resolve(), Path(directory), scene, seed)

    with ThreadPoolExecutor() as pool:
        for seed in range(1, o.runs + 1):
            for _, together in itertools.groupby(scenes, alone):
                yield from pool.map(one, together)


def run_all(o: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "format": 2,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "quick": o.quick,
        "results": [],
        "skipped": {p: why for p in PROGRAMS if (why := unusable(p))},
    }
    for result in results_of(o, chosen_scenes(o, report["skipped"])):
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
