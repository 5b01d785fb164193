"""tests/bench/sender_plot.py - tables and drawings of what sender_report.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLOURS = ("#2166ac", "#67a9cf", "#b2182b", "#1b7837", "#762a83")
PANEL_W, PANEL_H, LEFT, TOP, GAP = 380, 230, 56, 34, 34
FONT = 'font-family="sans-serif" font-size="11"'
ECHO_ROW, QUEUE_ROW = "5 %", "1 %"  # whose curves are drawn

Results = list[dict[str, Any]]
Curve = tuple[str, list[tuple[float, float]]]


def one_line(r: dict[str, Any]) -> str:
    parts = [f"{r['row']}, {r['program']}:"]
    if "bulk" in r:
        b = r["bulk"]
        parts.append(f"{b['mbit_s']:.1f} Mbit/s, queue {b['queue_mean_ms']:.0f} ms,")
    if "echo" in r:
        parts.append(f"echo {r['echo']['p50_ms']:.0f}/{r['echo']['p99_ms']:.0f} ms")
    return " ".join(parts + [f"({part}: {why})" for part, why in r["failed"].items()])


def in_order(results: Results, key: str) -> list[str]:
    return list(dict.fromkeys(r[key] for r in results))


def values(results: Results, row: str, program: str, part: str, key: str) -> list[float]:
    chosen = [r for r in results if r["row"] == row and r["program"] == program and part in r]
    return [r[part][key] for r in chosen if r[part][key] is not None]


def table(results: Results, title: str, cell: Callable[[str, str], str]) -> str:
    """One row a loss, one column a program."""
    programs = in_order(results, "program")
    lines = [f"| {title} | " + " | ".join(programs) + " |", "|---" * (len(programs) + 1) + "|"]
    for row in in_order(results, "row"):
        lines.append(f"| {row} | " + " | ".join(cell(row, p) for p in programs) + " |")
    return "\n".join(lines)


def markdown(report: dict[str, Any]) -> str:
    results = report["results"]

    def median(row: str, program: str, part: str, key: str) -> float | None:
        found = values(results, row, program, part, key)
        return statistics.median(found) if found else None

    def bulk(row: str, program: str) -> str:
        rate, share = (median(row, program, "bulk", k) for k in ("mbit_s", "share"))
        return "-" if rate is None or share is None else f"{rate:.1f} ({share * 100:.0f} %)"

    def wire(row: str, program: str) -> str:
        v = median(row, program, "bulk", "wire_per_byte")
        return "-" if v is None else f"{v:.2f}"

    def queue(row: str, program: str) -> str:
        mean, p95 = (median(row, program, "bulk", k) for k in ("queue_mean_ms", "queue_p95_ms"))
        return "-" if mean is None or p95 is None else f"{mean:.0f} / {p95:.0f}"

    def echo(row: str, program: str) -> str:
        p50, p99 = (median(row, program, "echo", k) for k in ("p50_ms", "p99_ms"))
        return "-" if p50 is None or p99 is None else f"{p50:.0f} / {p99:.0f}"

    m = report["machine"]
    runs = len({r["seed"] for r in results})
    how = "4 s of bulk, 4 s of echo" if report["quick"] else "8 s of bulk, 20 s of echo"
    parts = [
        f"{report['date']}; {m['processor']}, {m['cores']} cores, Linux {m['linux']}, load "
        f"{m['load']} before; {how}, {runs} run{'s' if runs > 1 else ''}, medians.",
        table(results, "Bulk, Mbit/s (share of the limit), at loss", bulk),
        table(results, "Wire bytes per byte delivered", wire),
        table(results, "Queue during bulk, ms, mean / p95", queue),
        table(results, "Echo, ms, p50 / p99", echo),
    ]
    parts += [f"Not measured: {p}: {why}." for p, why in report["skipped"].items()]
    parts += [
        f"Failed: {r['row']}, {r['program']}, {part}: {why}."
        for r in results
        for part, why in r["failed"].items()
    ]
    return "\n\n".join(parts)


def put_between_markers(path: Path, text: str) -> None:
    old = path.read_text()
    if BEGIN not in old or END not in old:
        raise SystemExit(f"{path}: no line {BEGIN}, or none {END}")
    head, tail = old.split(BEGIN, 1)[0], old.split(END, 1)[1]
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


# ---- drawings ----


def nice_step(span: float) -> float:
    """The least of 1, 2 or 5 times a power of ten that needs no more than six lines."""
    steps = (m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5))
    return next(step for step in steps if span / step <= 6)


def axes(title: str, x_name: str, x_max: float, y_max: float) -> list[str]:
    out = [f'<text x="0" y="-14" font-weight="bold">{escape(title)}</text>']
    x_step, y_step = nice_step(x_max), nice_step(y_max)
    y = 0.0
    while y <= y_max:
        at = PANEL_H - y / y_max * PANEL_H
        out.append(f'<line x1="0" x2="{PANEL_W}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
        y += y_step
    x = 0.0
    while x <= x_max:
        at = x / x_max * PANEL_W
        out.append(f'<text x="{at:.1f}" y="{PANEL_H + 16}" text-anchor="middle">{x:g}</text>')
        x += x_step
    middle = f'x="{PANEL_W / 2}" y="{PANEL_H + 32}" text-anchor="middle"'
    out.append(f"<text {middle}>{escape(x_name)}</text>")
    return out


def panel(title: str, x_name: str, curves: list[Curve], programs: list[str], dots: bool) -> str:
    points = [p for _, v in curves for p in v] or [(1.0, 1.0)]
    x_max = max(x for x, _ in points) or 1.0
    y_max = max(y for _, y in points) * 1.05 or 1.0
    out = axes(title, x_name, x_max, y_max)
    for name, v in curves:
        colour = COLOURS[programs.index(name) % len(COLOURS)]
        at = [(x / x_max * PANEL_W, PANEL_H - y / y_max * PANEL_H) for x, y in v]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if dots:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
    return "\n".join(out)


def thin(v: list[Any], most: int = 400) -> list[Any]:
    return v[:: max(1, len(v) // most)]


def goodput(results: Results, programs: list[str]) -> list[Curve]:
    curves = []
    for program in programs:
        rows = {r["row"]: r["loss"] for r in results if r["burst"] == 1}
        v = [(loss, values(results, row, program, "bulk", "mbit_s")) for row, loss in rows.items()]
        curves.append((program, sorted((x, statistics.median(y)) for x, y in v if y)))
    return curves


def distribution(results: Results, programs: list[str]) -> list[Curve]:
    curves = []
    for r in results:
        if r["row"] == ECHO_ROW and "echo" in r and r["program"] not in dict(curves):
            ms = r["echo"]["sorted_ms"]
            v = [(x, (i + 1) / len(ms) * 100) for i, x in enumerate(ms)]
            curves.append((r["program"], thin(v)))
    return [c for c in curves if c[0] in programs]


def queue_curves(results: Results, programs: list[str]) -> list[Curve]:
    curves: list[Curve] = []
    for r in results:
        if r["row"] == QUEUE_ROW and "bulk" in r and r["program"] not in dict(curves):
            curves.append((r["program"], thin([(t, q) for t, q in r["bulk"]["queue"]])))
    return [c for c in curves if c[0] in programs]


def svg(report: dict[str, Any]) -> str:
    results = report["results"]
    programs = in_order(results, "program")
    panels = [
        ("Bulk, Mbit/s", "loss each way, %", goodput(results, programs), True),
        (f"Echo at {ECHO_ROW}: share of answers, %", "ms", distribution(results, programs), False),
        (f"Queue during bulk at {QUEUE_ROW}, ms", "s", queue_curves(results, programs), False),
    ]
    width = len(panels) * (PANEL_W + LEFT) + GAP
    height = TOP + PANEL_H + 44 + 26
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, (title, x_name, curves, dots) in enumerate(panels):
        x = LEFT + i * (PANEL_W + LEFT)
        out.append(f'<g transform="translate({x},{TOP})">')
        out += [panel(title, x_name, curves, programs, dots), "</g>"]
    for i, name in enumerate(programs):
        x, y = LEFT + i * 150, height - 10
        out.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{COLOURS[i]}"/>')
        out.append(f'<text x="{x + 15}" y="{y}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
