#!/usr/bin/env python3
"""tests/support/tally.py - adds up what the suites of tools/test did.

tally.py junit FILE STATUS   counts of a JUnit file as "passed failed skipped". A missing, empty or
                             unreadable file, or a bad exit status of the runner without a failed
                             test, counts as one failure.
tally.py sum FILE            FILE holds lines "name passed failed skipped"; prints the one closing
                             line, exits 1 if anything failed or nothing ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def counts(path: Path, status: int) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    try:
        for case in ET.parse(path).getroot().iter("testcase"):
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                failed += 1
            elif "skipped" in kinds:
                skipped += 1
            else:
                passed += 1
    except (OSError, ET.ParseError):
        return 0, 1, 0
    if not failed and (status != 0 or not passed + skipped):
        failed = 1
    return passed, failed, skipped


def total(path: Path) -> tuple[int, int, int]:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return (
        sum(int(r[-3]) for r in rows),
        sum(int(r[-2]) for r in rows),
        sum(int(r[-1]) for r in rows),
    )


def main() -> int:
    if sys.argv[1] == "junit":
        print(*counts(Path(sys.argv[2]), int(sys.argv[3])))
        return 0
    passed, failed, skipped = total(Path(sys.argv[2]))
    if not passed and not failed:
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
