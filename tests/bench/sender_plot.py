"""tests/bench/sender_plot.py - tables and drawings of what sender_report.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from sender_cell import PROGRAMS
from sender_scenes import CHANGES, ENOUGH_STEPS, LOSSES, STEP_S

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLOURS = ("#2166ac", "#67a9cf", "#b2182b", "#1b7837", "#762a83", "#999999")
PANEL_W, PANEL_H, LEFT, TOP, GAP, FOOT = 380, 230, 56, 34, 34, 44
PANELS_A_ROW = 3
FONT = 'font-family="sans-serif" font-size="11"'
ECHO_ROW, QUEUE_ROW = "5 %", "1 %"  # whose curves are drawn

Result = dict[str, Any]
Results = list[Result]
Curve = tuple[str, list[tuple[float, float]]]
Cells = list[Result]  # of one row and column: a result for each seed


# ---- tables ----


def median(cells: Cells, key: str) -> float | None:
    found = [r[key] for r in cells if r.get(key) is not None]
    return statistics.median(found) if found else None


def rate_of(cells: Cells) -> str:
    rate, share = median(cells, "mbit_s"), median(cells, "share")
    return "-" if rate is None or share is None else f"{rate:.1f} ({share * 100:.0f} %)"


def wire_of(cells: Cells) -> str:
    v = median(cells, "wire_per_byte")
    return "-" if v is None else f"{v:.2f}"


def two(cells: Cells, first: str, second: str) -> str:
    a, b = median(cells, first), median(cells, second)
    return "-" if a is None or b is None else f"{a:.0f} / {b:.0f}"


def queue_of(cells: Cells) -> str:
    return two(cells, "queue_mean_ms", "queue_p95_ms")


def echo_of(cells: Cells) -> str:
    return two(cells, "p50_ms", "p99_ms")


def kbit_of(cells: Cells) -> str:
    v = median(cells, "wire_per_s")
    return "-" if v is None else f"{v * 8e-3:.0f}"


def changes_of(cells: Cells) -> str:
    """Share of the new limit, and when there was enough of it, for each change of the row."""
    found = []
    for i in range(len(cells[0].get("share", [])) if cells else 0):
        share = statistics.median(r["share"][i] for r in cells)
        enough = [r["enough_s"][i] for r in cells]
        when = "never" if None in enough else f"{statistics.median(enough):.1f} s"
        found.append(f"{share * 100:.0f} %, {when}")
    return "; ".join(found) or "-"


def beside_of(cells: Cells) -> str:
    share = median(cells, "first_share")
    if share is None:
        return "-"
    each = [statistics.median(v) for v in zip(*(r["each_mbit_s"] for r in cells))]
    return f"{share * 100:.0f} % ({each[0]:.0f} : {each[1]:.0f})"


def pair_of(cells: Cells) -> str:
    v = median(cells, "smaller")
    return "-" if v is None else f"{v:.2f}"


def loaded_of(cells: Cells) -> str:
    return f"{echo_of(cells)}, {rate_of(cells)}" if median(cells, "p50_ms") else "-"


TABLES: list[tuple[str, str, Callable[[Cells], str]]] = [  # part, title, what a cell says
    ("bulk", "Bulk, Mbit/s (share of the limit), at loss", rate_of),
    ("bulk", "Wire bytes per byte delivered", wire_of),
    ("bulk", "Queue during bulk, ms, mean / p95", queue_of),
    ("echo", "Echo, ms, p50 / p99", echo_of),
    ("echo", "Its wire bytes, both directions, kbit/s", kbit_of),
    ("loaded", "Echo, ms, p50 / p99, beside bulk through the same client, Mbit/s", loaded_of),
    ("paths", "Other paths: bulk, Mbit/s (share of the limit)", rate_of),
    ("paths", "Other paths: wire bytes per byte delivered", wire_of),
    ("changes", "Changes: share from 1.5 to 4.5 s after; when 80 % were reached", changes_of),
    ("beside", "Beside one flow of: our share (Mbit/s, ours : theirs)", beside_of),
    ("pair", "Two flows of the same kind, smaller : larger, at loss", pair_of),
]


def in_order(results: Results, key: str) -> list[str]:
    return list(dict.fromkeys(r[key] for r in results))


def table(results: Results, title: str, cell: Callable[[Cells], str]) -> str:
    columns = in_order(results, "column")
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in in_order(results, "row"):
        in_row = [r for r in results if r["row"] == row]
        found = (cell([r for r in in_row if r["column"] == c and not r["failed"]]) for c in columns)
        lines.append(f"| {row} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def one_line(r: Result) -> str:
    """For who waits."""
    say = [cell for part, _, cell in TABLES if part == r["part"]]
    what = f"failed: {r['failed']}" if r["failed"] else ", ".join(cell([r]) for cell in say)
    return f"{r['part']}, {r['row']}, {r['column']}: {what}"


def markdown(report: dict[str, Any]) -> str:
    results, m = report["results"], report["machine"]
    runs = len({r["seed"] for r in results})
    how = "a short look" if report["quick"] else "in full length"
    parts = [
        f"{report['date']}; {m['processor']}, {m['cores']} cores, Linux {m['linux']}, load "
        f"{m['load']} before; {how}, {runs} run{'s' if runs > 1 else ''}, medians.",
    ]
    for part, title, cell in TABLES:
        if chosen := [r for r in results if r["part"] == part]:
            parts.append(table(chosen, title, cell))
    parts += [f"Not measured: {p}: {why}." for p, why in report["skipped"].items()]
    failed = [r for r in results if r["failed"]]
    parts += [f"Failed: {r['part']}, {r['row']}, {r['column']}: {r['failed']}." for r in failed]
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


def colour(name: str) -> str:
    return COLOURS[list(PROGRAMS).index(name) % len(COLOURS)]


def panel(title: str, x_name: str, curves: list[Curve], dots: bool = False) -> str:
    points = [p for _, v in curves for p in v] or [(1.0, 1.0)]
    x_max = max(x for x, _ in points) or 1.0
    y_max = max(y for _, y in points) * 1.05 or 1.0
    out = axes(title, x_name, x_max, y_max)
    for name, v in curves:
        at = [(x / x_max * PANEL_W, PANEL_H - y / y_max * PANEL_H) for x, y in v]
        line, ink = " ".join(f"{x:.1f},{y:.1f}" for x, y in at), colour(name)
        out.append(f'<polyline points="{line}" fill="none" stroke="{ink}" stroke-width="1.5"/>')
        if dots:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}"/>' for x, y in at]
    return "\n".join(out)


def thin(v: list[Any], most: int = 400) -> list[Any]:
    return v[:: max(1, len(v) // most)]


def goodput(results: Results) -> str:
    curves = []
    for program in in_order(results, "column"):
        found = {}
        for row, (loss, burst) in LOSSES.items():
            cells = [r for r in results if r["row"] == row and r["column"] == program]
            if burst == 1 and (rate := median(cells, "mbit_s")) is not None:
                found[float(loss)] = rate
        curves.append((program, sorted(found.items())))
    return panel("Bulk, Mbit/s", "loss each way, %", curves, dots=True)


def first_of_each(results: Results, row: str) -> dict[str, Result]:
    chosen = [r for r in results if r["row"] == row and not r["failed"]]
    return {r["column"]: r for r in reversed(chosen)}


def distribution(results: Results) -> str:
    curves = []
    for program, r in first_of_each(results, ECHO_ROW).items():
        ms = r["sorted_ms"]
        curves.append((program, thin([(x, (i + 1) / len(ms) * 100) for i, x in enumerate(ms)])))
    return panel(f"Echo at {ECHO_ROW}: share of answers, %", "ms", curves)


def queue_curves(results: Results) -> str:
    curves = []
    for program, r in first_of_each(results, QUEUE_ROW).items():
        first = r["queue"][0][0] if r["queue"] else 0
        curves.append((program, thin([(t - first, q) for t, q in r["queue"]])))
    return panel(f"Queue during bulk at {QUEUE_ROW}, ms", "s", curves)


def course(r: Result, of: int) -> list[tuple[float, float]]:
    """Mbit/s over time of one of the flows, evened out over half a second."""
    rates = [v[of] for v in r["course"]]
    even = ENOUGH_STEPS
    return [
        (round(i * STEP_S, 1), sum(rates[i - even : i]) / even) for i in range(even, len(rates) + 1)
    ]


def change_panels(results: Results) -> list[str]:
    rows = {row: first_of_each(results, row) for row in CHANGES}
    return [
        panel(f"{row}, Mbit/s", "s", [(p, course(r, 0)) for p, r in found.items()])
        for row, found in rows.items()
        if found
    ]


def sharing_panels(results: Results) -> list[str]:
    out = []
    for r in (r for r in results if r["seed"] == 1 and not r["failed"]):
        others = "ours" if r["part"] == "beside" else r["column"]
        what = f"ours beside {r['column']}, {r['row']}"
        title = what if r["part"] == "beside" else f"two flows, {r['column']}"
        curves = [(others, course(r, 0)), (r["column"], course(r, 1))]
        out.append(panel(f"{title}, Mbit/s", "s", curves))
    return out


def svg(report: dict[str, Any]) -> str:
    def part(*which: str) -> Results:
        return [r for r in report["results"] if r["part"] in which]

    panels = [goodput(part("bulk")), distribution(part("echo")), queue_curves(part("bulk"))]
    panels += change_panels(part("changes")) + sharing_panels(part("beside", "pair"))
    rows = (len(panels) + PANELS_A_ROW - 1) // PANELS_A_ROW
    width = PANELS_A_ROW * (PANEL_W + LEFT) + GAP
    height = rows * (TOP + PANEL_H + FOOT) + 26
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, drawn in enumerate(panels):
        x = LEFT + i % PANELS_A_ROW * (PANEL_W + LEFT)
        y = TOP + i // PANELS_A_ROW * (TOP + PANEL_H + FOOT)
        out += [f'<g transform="translate({x},{y})">', drawn, "</g>"]
    for i, name in enumerate(PROGRAMS):
        x, y = LEFT + i * 150, height - 10
        out.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour(name)}"/>')
        out.append(f'<text x="{x + 15}" y="{y}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
