#!/usr/bin/env python3
"""tests/bench/plot.py - draws what `kcptun-bench --json FILE` wrote as an SVG: a panel for each
work and value, a bar for each program and setting; the bar is the median, the line on it the range
of all runs. Bars of one panel share a scale that begins at zero.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

# work: the values worth a panel, with their titles
PANELS: dict[str, dict[str, str]] = {
    "bulk": {"mb_s": "MB/s", "cpu_s_gb": "CPU s/GB, both ends"},
    "down": {"mb_s": "MB/s", "cpu_s_gb": "CPU s/GB, both ends"},
    "parallel": {"mb_s": "MB/s"},
    "sessions": {"mb_s": "MB/s"},
    "echo": {"p50_ms": "round trip, ms, p50", "p99_ms": "round trip, ms, p99"},
    "loaded-echo": {"p50_ms": "round trip, ms, p50", "p99_ms": "round trip, ms, p99"},
    "churn": {"conn_s": "connections/s"},
    "idle": {
        "pss_client_kib": "KiB per session, client",
        "pss_server_kib": "KiB per session, server",
        "cpu_server_pct": "% of a core, server",
    },
    "fairness": {"jain": "Jain's index", "least_pct": "least stream, % of an equal share"},
    "starve": {"beside_mb_s": "MB/s beside a reader that stopped"},
}
COLOURS = ("#2166ac", "#b2182b", "#92c5de", "#f4a582")  # ours, kcptun, and the mixed pairs
COLUMNS = 3
BAR_W, BAR_H, BAR_STEP = 164, 14, 20
CHAR_W, VALUE_W = 6.2, 52  # for what stands left and right of the bars
GAP, MARGIN, TITLE_H, HEAD_H = 20, 20, 26, 44
FONT = 'font-family="sans-serif" font-size="11"'


@dataclass
class Bar:
    label: str
    colour: str
    median: float
    least: float
    most: float


@dataclass
class Panel:
    title: str
    bars: list[Bar]

    @property
    def height(self) -> int:
        return TITLE_H + BAR_STEP * len(self.bars)


def settings_of(result: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """Those settings that are not the same in the whole report."""
    parts = []
    for key in ("crypt", "fec", "io", "workers"):
        if len({r[key] for r in results}) > 1:
            parts.append(f"{key} {result[key]}" if key in ("fec", "workers") else str(result[key]))
    return " ".join(parts)


def panels_of(report: dict[str, Any], works: list[str]) -> list[Panel]:
    results = report["results"]
    programs = list(dict.fromkeys(r["program"] for r in results))
    panels = []
    for work in works:
        for key, title in PANELS[work].items():
            bars = []
            for r in results:
                if r["work"] != work or key not in r["median"]:
                    continue
                label = " ".join(filter(None, (r["program"], settings_of(r, results))))
                colour = COLOURS[programs.index(r["program"]) % len(COLOURS)]
                bars.append(Bar(label, colour, r["median"][key], r["min"][key], r["max"][key]))
            if bars:
                panels.append(Panel(f"{work}: {title}", bars))
    return panels


def number(value: float) -> str:
    """Three digits or all before the point."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def text(x: float, y: float, content: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {FONT} fill="#222"{more}>{escape(content)}</text>'


def draw_bar(bar: Bar, left: float, y: float, scale: float) -> list[str]:
    middle = y + BAR_H / 2
    out = [
        "<g>",
        f"<title>{escape(bar.label)}: {number(bar.median)}, "
        f"{number(bar.least)} to {number(bar.most)}</title>",
        text(left - 6, y + 11, bar.label, ' text-anchor="end"'),
        f'<rect x="{left:.1f}" y="{y:.1f}" width="{max(bar.median, 0) * scale:.1f}" '
        f'height="{BAR_H}" fill="{bar.colour}"/>',
    ]
    if bar.most > bar.least:
        a, b = left + max(bar.least, 0) * scale, left + bar.most * scale
        out.append(
            f'<path d="M{a:.1f} {middle:.1f}H{b:.1f}M{a:.1f} {middle - 3:.1f}v6'
            f'M{b:.1f} {middle - 3:.1f}v6" stroke="#222" fill="none"/>'
        )
    end = left + max(bar.median, bar.most) * scale
    out += [text(end + 5, y + 11, number(bar.median)), "</g>"]
    return out


def draw_panel(panel: Panel, x: float, y: float, label_w: float) -> list[str]:
    longest = max(max(b.most, b.median) for b in panel.bars)
    scale = BAR_W / longest if longest > 0 else 0
    out = [text(x, y + 12, panel.title, ' font-weight="bold"')]
    for i, bar in enumerate(panel.bars):
        out += draw_bar(bar, x + label_w, y + TITLE_H - 6 + i * BAR_STEP, scale)
    return out


def head(report: dict[str, Any]) -> list[str]:
    m, s = report["machine"], report["settings"]
    lines = [
        f"kcptund {report['version']}: {m['processor']}, {m['cores']} cores, "
        f"Linux {m['linux']}, {report['date']}",
        f"medians of {s['runs']} run{'s' * (s['runs'] != 1)} of {s['time_s']:g} s; "
        f"mode {s['mode']}, windows {s['window']}, smux {s['smuxver']}, "
        + ("two namespaces" if s["netns"] else "loopback"),
    ]
    if not report["complete"]:
        lines.append("the run did not get to its end")
    return [text(MARGIN, MARGIN + 6 + 15 * i, line) for i, line in enumerate(lines)]


def draw(report: dict[str, Any], works: list[str]) -> str:
    panels = panels_of(report, works)
    label_w = 10 + CHAR_W * max((len(b.label) for p in panels for b in p.bars), default=0)
    panel_w = label_w + BAR_W + VALUE_W
    body, y = head(report), float(HEAD_H + MARGIN)
    for at in range(0, len(panels), COLUMNS):
        row = panels[at : at + COLUMNS]
        for i, panel in enumerate(row):
            body += draw_panel(panel, MARGIN + i * (panel_w + GAP), y, label_w)
        y += max(p.height for p in row) + GAP
    width = round(2 * MARGIN + COLUMNS * panel_w + (COLUMNS - 1) * GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y:.0f}" '
            f'viewBox="0 0 {width} {y:.0f}">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def main() -> int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("json", type=Path, help="what kcptun-bench --json wrote")
    p.add_argument("svg", type=Path)
    p.add_argument("--work", help="works, with commas between; default: all that were measured")
    args = p.parse_args()
    report = json.loads(args.json.read_text())
    works = args.work.split(",") if args.work else list(PANELS)
    unknown = [w for w in works if w not in PANELS]
    if unknown:
        print(f"plot.py: no such work: {', '.join(unknown)}", file=sys.stderr)
        return 2
    args.svg.write_text(draw(report, works))
    return 0


if __name__ == "__main__":
    sys.exit(main())
