"""tests/bench/sender_scenes.py - what sender_report.py measures: links, who shares them, for how
long, and what is read out of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sender_cell import PROGRAMS, Bulk, Cell, Failed, echo_times, percentiles

PAYLOAD_SHARE = 0.942  # of a full datagram
STEP_S = 0.1  # between looks at what has arrived
SETTLED_S, LOOKED_S = 1.5, 3.0  # after a change: until the target holds; how long that is looked at
ENOUGH, ENOUGH_STEPS = 0.8, 5  # of the limit; mean of so many looks
MEASURED = [name for name in PROGRAMS if name != "ours, no copies"]
OWN = ["ours", "ours to kcptun"]


@dataclass(frozen=True)
class Scene:
    """One measurement; `part` says of which kind it is."""

    part: str
    row: str
    programs: tuple[str, ...]
    link: tuple[str, ...]
    limit: float  # Mbit/s of payload that the link carries in the end
    mark_s: float  # what is measured begins here
    seconds: float  # ... and ends here
    starts: tuple[float, ...] = (0.0,)
    changes: tuple[tuple[float, float], ...] = ()  # when, counted by linkem; the limit from then on

    @property
    def column(self) -> str:
        return self.programs[0] if len(set(self.programs)) == 1 else self.programs[-1]


def link(
    rate: float = 100, delay: float = 50, loss: float = 0, burst: float = 1, more: str = ""
) -> tuple[str, ...]:
    """Arguments of kcptun-linkem: Mbit/s, ms one way, percent, and a queue of 50 ms."""
    text = f"--rate {rate}mbit --delay {delay}ms --queue 50ms --loss {loss}% --burst {burst} {more}"
    return tuple(text.split())


def limit(rate: float = 100, loss: float = 0) -> float:
    return rate * PAYLOAD_SHARE * (1 - loss / 100)


LOSSES = {  # row: loss in percent, mean run
    "0 %": (0, 1),
    "1 %": (1, 1),
    "5 %": (5, 1),
    "10 %": (10, 1),
    "20 %": (20, 1),
    "5 %, runs of 4": (5, 4),
}
PATHS: dict[str, tuple[tuple[str, ...], float, float, float]] = {  # link, limit, mark, seconds
    "10 ms of jitter with reordering": (link(more="--jitter 10ms --reorder on"), limit(), 2, 10),
    "10 % twice": (link(more="--duplicate 10%"), limit(), 2, 10),
    "100 down, 2 up, 5 %": (
        (*link(loss=5), "--plan", "b-a rate 2mbit"),
        limit(loss=5),
        10,
        20,
    ),
    "10 Mbit/s, 300 ms": (link(10, 150), limit(10), 6, 16),
    "10 Mbit/s, 300 ms, 5 %": (link(10, 150, 5), limit(10, 5), 6, 16),
    "500 Mbit/s, 20 ms": (link(500, 10), limit(500), 2, 8),
    "500 Mbit/s, 20 ms, 5 %": (link(500, 10, 5), limit(500, 5), 2, 8),
}
CHANGES = {  # what linkem is told beside the link; the changes; seconds
    "100 to 20 to 100 Mbit/s": (
        (*link(), "--plan", "at 8s rate 20mbit; at 14s rate 100mbit"),
        ((8, limit(20)), (14, limit())),
        19,
    ),
    "2 s of nothing": (
        (*link(), "--plan", "at 8s loss 100%; at 10s loss 0"),
        ((10, limit()),),
        15,
    ),
    "20 to 200 ms": ((*link(delay=10), "--plan", "at 8s delay 100ms"), ((8, limit()),), 13),
    "1 to 20 % loss": ((*link(loss=1), "--plan", "at 8s loss 20%"), ((8, limit(loss=20)),), 13),
}


# ---- scenes ----


def bulk_scenes(quick: bool) -> Iterator[Scene]:
    for (row, (loss, burst)), program in itertools.product(LOSSES.items(), MEASURED):
        seconds = 6 if quick else 10
        path = link(loss=loss, burst=burst)
        yield Scene("bulk", row, (program,), path, limit(loss=loss), 2, seconds)


def echo_scenes(quick: bool) -> Iterator[Scene]:
    for (row, (loss, burst)), program in itertools.product(LOSSES.items(), PROGRAMS):
        seconds = 4 if quick else 20
        yield Scene("echo", row, (program,), link(loss=loss, burst=burst), 0, 0, seconds)


def path_scenes(quick: bool) -> Iterator[Scene]:
    for (row, (path, most, mark, end)), program in itertools.product(PATHS.items(), OWN):
        seconds = mark + (end - mark) / (2 if quick else 1)
        yield Scene("paths", row, (program,), path, most, mark, seconds)


def change_scenes(_: bool) -> Iterator[Scene]:
    for (row, (path, changes, seconds)), program in itertools.product(CHANGES.items(), OWN):
        yield Scene("changes", row, (program,), path, 0, 0, seconds, changes=changes)


def beside_scenes(quick: bool) -> Iterator[Scene]:
    """The second comes after five seconds; five more, and it is looked at."""
    for other in ("TCP CUBIC", "TCP BBR"):
        for row, starts in (("ours first", (0.0, 5.0)), ("ours second", (5.0, 0.0))):
            seconds = 18 if quick else 35
            yield Scene("beside", row, ("ours", other), link(), limit(), 10, seconds, starts)


def pair_scenes(quick: bool) -> Iterator[Scene]:
    for program in OWN:
        seconds = 20 if quick else 61
        yield Scene("pair", "0 %", (program, program), link(), limit(), 1, seconds, (0.0, 1.0))


def loaded_scenes(quick: bool) -> Iterator[Scene]:
    for program in (*OWN, "kcptun"):
        path = link(loss=1)
        yield Scene("loaded", "1 %", (program,), path, limit(loss=1), 3, 9 if quick else 23)


PARTS = {
    "bulk": bulk_scenes,
    "echo": echo_scenes,
    "paths": path_scenes,
    "changes": change_scenes,
    "beside": beside_scenes,
    "pair": pair_scenes,
    "loaded": loaded_scenes,
}
LIGHT = {"echo"}  # of these, those of a row run at the same time


# ---- measuring ----


def run_bulk(cell: Cell, scene: Scene) -> dict[str, Any]:
    """All programs send as much as goes, each from its start on. What arrived of each in each step,
    and what the link carried and queued from the mark on."""
    begin, waiting, steps = time.monotonic(), list(enumerate(scene.starts)), []
    seconds = scene.seconds - (begin - cell.began if scene.changes else 0)
    flows: list[Bulk] = []
    wire = 0
    with ExitStack() as stack:
        last = cell.received()
        for step in range(round(seconds / STEP_S)):
            now = step * STEP_S
            for start in [v for v in waiting if v[1] <= now + STEP_S / 2]:
                flows.append(stack.enter_context(Bulk(cell, start[0])))
                waiting.remove(start)
            if step == round(scene.mark_s / STEP_S):
                wire, marked = cell.wire_bytes(), sum(cell.received())
            time.sleep(max(0.0, begin + now + STEP_S - time.monotonic()))
            got = cell.received()
            steps.append([round((a - b) * 8e-6 / STEP_S, 2) for a, b in zip(got, last)])
            last = got
        wire = cell.wire_bytes() - wire
        failed = [flow.failed for flow in flows if flow.failed]
    if failed:
        raise Failed(f"a stream broke: {failed[0]}")
    return {
        "mbit_s": steps,
        "began_s": round(begin - cell.began, 2),
        "wire_per_byte": wire / (sum(last) - marked) if sum(last) > marked else None,
        "queue": [[t, round(q, 2)] for t, q in cell.queue(seconds)],
    }


def mean(v: list[float]) -> float:
    return sum(v) / len(v) if v else 0.0


def steady(scene: Scene, got: dict[str, Any]) -> dict[str, Any]:
    """Of one flow: its rate from the mark on, and the queue it kept."""
    rate = mean([v[0] for v in got["mbit_s"][round(scene.mark_s / STEP_S) :]])
    queue = sorted(q for t, q in got["queue"] if t >= got["queue"][0][0] + scene.mark_s)
    return {
        "mbit_s": rate,
        "share": rate / scene.limit,
        "wire_per_byte": got["wire_per_byte"],
        "queue_mean_ms": mean(queue),
        "queue_p95_ms": queue[len(queue) * 95 // 100],
    }


def after_changes(scene: Scene, got: dict[str, Any]) -> dict[str, Any]:
    """Of each change: the share of the new limit once it should be there; when it was enough."""
    found: dict[str, Any] = {"share": [], "enough_s": []}
    for at, most in scene.changes:
        first = round((at - got["began_s"]) / STEP_S)
        rates = [v[0] for v in got["mbit_s"][first:]]
        settled = round(SETTLED_S / STEP_S)
        found["share"].append(mean(rates[settled : settled + round(LOOKED_S / STEP_S)]) / most)
        means = [mean(rates[i : i + ENOUGH_STEPS]) for i in range(len(rates) - ENOUGH_STEPS)]
        enough = (i for i, v in enumerate(means) if v >= ENOUGH * most)
        found["enough_s"].append(next((round(i * STEP_S, 1) for i in enough), None))
    return found


def beside(scene: Scene, got: dict[str, Any]) -> dict[str, Any]:
    """What each has from the mark on."""
    rates = [mean(list(v)) for v in zip(*got["mbit_s"][round(scene.mark_s / STEP_S) :])]
    queue = [q for t, q in got["queue"] if t >= got["queue"][0][0] + scene.mark_s]
    return {
        "each_mbit_s": rates,
        "first_share": rates[0] / (sum(rates) or 1.0),
        "smaller": min(rates) / (max(rates) or 1.0),
        "queue_mean_ms": mean(queue),
    }


def run_echo(cell: Cell, scene: Scene) -> dict[str, Any]:
    with cell.connect(0, b"e", timeout=20) as s:
        echo_times(s, 50)  # what the path loses is learnt from messages
        wire, begin = cell.wire_bytes(), time.monotonic()
        took = echo_times(s, round(scene.seconds * 50))
        wire, seconds = cell.wire_bytes() - wire, time.monotonic() - begin
    return {"wire_per_s": wire / seconds, **percentiles(took)}


def run_loaded(cell: Cell, scene: Scene) -> dict[str, Any]:
    """An echo that begins when bulk through the same client has filled the link."""
    with Bulk(cell) as flow:
        time.sleep(scene.mark_s)
        received, begin = cell.received()[0], time.monotonic()
        with cell.connect(0, b"e", timeout=20) as s:
            took = echo_times(s, round((scene.seconds - scene.mark_s) * 50))
        rate = (cell.received()[0] - received) * 8e-6 / (time.monotonic() - begin)
        if flow.failed:
            raise Failed(f"the stream of bulk broke: {flow.failed}")
    return {"mbit_s": rate, "share": rate / scene.limit, **percentiles(took)}


READ = {"bulk": steady, "paths": steady, "changes": after_changes, "beside": beside, "pair": beside}


def measure(build: Path, directory: Path, scene: Scene, seed: int) -> dict[str, Any]:
    """A scene that fails says why."""
    result: dict[str, Any] = {"part": scene.part, "row": scene.row, "column": scene.column}
    result["seed"], result["failed"] = seed, ""
    try:
        with Cell(build, directory, list(scene.link), list(scene.programs), seed) as cell:
            if scene.part == "echo":
                result |= run_echo(cell, scene)
            elif scene.part == "loaded":
                result |= run_loaded(cell, scene)
            else:
                got = run_bulk(cell, scene)
                result |= READ[scene.part](scene, got)
                result["course"], result["queue"] = got["mbit_s"], got["queue"]
    except (Failed, OSError) as error:
        result["failed"] = str(error)
    return result
