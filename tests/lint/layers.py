#!/usr/bin/env python3
"""tests/lint/layers.py - who may include whom, and which of the kernel's headers stay above.

Arrows point one way: tools, daemon -> conf | core -> fec | crypto -> core/base. What lies below
daemon/ sees no socket, clock, thread or source of random bytes: those come in as arguments, so
that a test can bring its own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sources import c_files

# directory: what its files may include; the first matching row (longest path) counts
ALLOWED: dict[str, tuple[str, ...]] = {
    "core/base": ("core/base",),
    "core": ("core", "fec", "crypto"),
    "fec": ("fec", "core/base"),
    "crypto": ("crypto", "core/base"),
    "conf": ("conf", "core/base"),
    "daemon": ("daemon", "conf", "core", "fec", "crypto"),
    "tools": ("tools", "conf", "core", "fec", "crypto"),
    "docs/examples": (),
    "tests": ("tests", "daemon", "tools", "conf", "core", "fec", "crypto"),
}
BELOW_DAEMON = ("core", "fec", "crypto", "conf")

KERNEL_HEADERS = {
    "fcntl.h",
    "liburing.h",
    "netdb.h",
    "netinet/in.h",
    "netinet/udp.h",
    "poll.h",
    "pthread.h",
    "sched.h",
    "semaphore.h",
    "signal.h",
    "sys/epoll.h",
    "sys/eventfd.h",
    "sys/inotify.h",
    "sys/ioctl.h",
    "sys/random.h",
    "sys/select.h",
    "sys/signalfd.h",
    "sys/socket.h",
    "sys/syscall.h",
    "sys/time.h",
    "sys/timerfd.h",
    "sys/un.h",
    "threads.h",
    "time.h",
    "unistd.h",
}
# libraries that only some directories may meet
LIBRARY_HEADERS: dict[str, tuple[str, ...]] = {
    "jansson.h": ("conf", "daemon", "tools", "tests"),
    "ini.h": ("conf", "tests"),
    "gcrypt.h": ("crypto", "tests"),
    "snappy-c.h": ("core", "tests"),
    "jerasure.h": ("fec", "tests"),
    "jerasure/jerasure.h": ("fec", "tests"),
    "gf_complete.h": ("fec", "tests"),
    "liburing.h": ("daemon", "tools", "tests"),
    "microhttpd.h": ("daemon",),
    "cmocka.h": ("tests",),
}
RANDOM_CALLS = re.compile(
    r"\b(getrandom|getentropy|arc4random\w*|s?random|s?rand|rand_r|[dlm]rand48|randombytes_\w+|"
    r"gcry_random\w*|gcry_randomize|gcry_create_nonce)\s*\(|/dev/u?random"
)
CLOCK_CALLS = re.compile(r"\b(clock_gettime|gettimeofday|time|clock|nanosleep|usleep|sleep)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT_OR_STRING = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S
)


def layer_of(rel: str) -> str | None:
    """The longest row of ALLOWED that rel lies in."""
    fits = [d for d in ALLOWED if rel == d or rel.startswith(d + "/")]
    return max(fits, key=len) if fits else None


def blank(match: re.Match[str]) -> str:
    """Same number of lines, none of the text; device paths in strings stay visible."""
    text = match.group(0)
    if text.startswith('"'):
        return text if "/dev/" in text else '""'
    return "\n" * text.count("\n")


def check_include(rel: str, layer: str, kind: str, name: str) -> str | None:
    if kind == "<":
        if layer.split("/")[0] in BELOW_DAEMON and name in KERNEL_HEADERS:
            return f"<{name}> belongs to daemon/ and above"
        users = LIBRARY_HEADERS.get(name)
        if users and layer.split("/")[0] not in users:
            return f"<{name}> is for {', '.join(users)} only"
        return None
    target = layer_of(name)
    if target is None:
        return f'"{name}" is not a path from the top of the tree'
    if not any(target == a or target.startswith(a + "/") for a in ALLOWED[layer]):
        return f'"{name}": {layer}/ may include {", ".join(ALLOWED[layer])} only'
    return None


def check_text(rel: str, layer: str, text: str) -> list[str]:
    bad = []
    for number, line in enumerate(text.splitlines(), 1):
        include = INCLUDE.match(line)
        if include:
            reason = check_include(rel, layer, include.group(1), include.group(2))
            if reason:
                bad.append(f"{rel}:{number}: {reason}")
    if layer.split("/")[0] in BELOW_DAEMON:
        for number, line in enumerate(COMMENT_OR_STRING.sub(blank, text).splitlines(), 1):
            for pattern, what in (
                (RANDOM_CALLS, "asks for random bytes"),
                (CLOCK_CALLS, "looks at a clock"),
            ):
                hit = pattern.search(line)
                if hit:
                    call = hit.group(0).strip("(").strip()
                    bad.append(f"{rel}:{number}: {call} {what}: below daemon/ both come in")
    return bad


SELF_TEST = (  # file, text, whether it must be refused
    ("core/arq.c", '#include "core/base/bytes.h"', False),
    ("core/arq.c", '#include "conf/conf.h"', True),
    ("core/base/buf.c", '#include "core/arq.h"', True),
    ("fec/rs.c", '#include "core/arq.h"', True),
    ("fec/rs.c", "#include <time.h>", True),
    ("conf/ini.c", "x = getrandom(p, 1, 0);", True),
    ("conf/ini.c", "/* time() is not ours */", False),
    ("daemon/net.c", "#include <sys/socket.h>", False),
    ("tools/bench.c", '#include "daemon/io.h"', True),
    ("core/x.c", '#include "x.h"', True),
    ("core/x.c", 'f = fopen("/dev/urandom", "r");', True),
    ("crypto/kdf.c", "now = time(NULL);", True),
    ("crypto/kdf.c", "run_time(1);", False),
)


def self_test() -> list[str]:
    bad = []
    for rel, text, refused in SELF_TEST:
        if bool(check_text(rel, layer_of(rel) or "", text)) != refused:
            verdict = "refused" if refused else "accepted"
            bad.append(f"layers.py: self-test: {rel}: {text!r} should be {verdict}")
    return bad


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    bad = self_test()
    for path in c_files(root, (".c", ".h", ".def")):
        rel = path.relative_to(root).as_posix()
        layer = layer_of(rel)
        if layer is None:
            bad.append(f"{rel}: C outside the directories of the table in tests/lint/layers.py")
        else:
            bad += check_text(rel, layer, path.read_text())
    print("\n".join(bad) or "layers: fine")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
