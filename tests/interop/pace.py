"""tests/interop/pace.py - time limits. Tests state those of an idle machine and a plain build;
limit() makes of them what holds here, where a sanitizer or other work may slow down everything
(--scale)."""

from __future__ import annotations

scale = 1.0  # set by conftest.py


def limit(seconds: float) -> float:
    return seconds * scale
