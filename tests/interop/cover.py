"""tests/interop/cover.py - a covering array: every pair of values of two axes meets in at least
one row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

Pair = tuple[str, Any, str, Any]


def pairs_of(row: dict[str, Any]) -> set[Pair]:
    return {(a, row[a], b, row[b]) for a, b in combinations(row, 2)}


def pairwise(axes: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Greedy and deterministic: each row starts from the first pair still missing and takes, axis
    by axis, the value that covers most missing pairs; ties go to the value used least so far."""
    missing: dict[Pair, None] = {}
    for a, b in combinations(axes, 2):
        for x, y in product(axes[a], axes[b]):
            missing[(a, x, b, y)] = None
    used = {(name, value): 0 for name, values in axes.items() for value in values}
    rows = []
    while missing:
        a, x, b, y = next(iter(missing))
        chosen = {a: x, b: y}
        for name in axes:
            if name not in chosen:
                chosen[name] = max(
                    axes[name], key=lambda v, n=name: (gain(chosen, n, v, missing), -used[n, v])
                )
        row = {name: chosen[name] for name in axes}
        for pair in pairs_of(row):
            missing.pop(pair, None)
        for item in row.items():
            used[item] += 1
        rows.append(row)
    return rows


def gain(chosen: dict[str, Any], name: str, value: Any, missing: dict[Pair, None]) -> int:
    """How many missing pairs the value would cover together with what is chosen."""
    return sum(
        (other, v, name, value) in missing or (name, value, other, v) in missing
        for other, v in chosen.items()
    )


def whole_product(axes: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values)) for values in product(*axes.values())]
