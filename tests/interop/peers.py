"""tests/interop/peers.py - starts and stops both kinds of tunnel ends, and the relay that mangles
between them.

`Ours` is kcptund with an INI file, `Theirs` the packaged kcptun programs. Both are waited for by
looking at the kernel's socket tables (a probing connection would open a stream), both are stopped
by pid, and no process outlives the test run (setpriv --pdeathsig). Sanitizer reports in a log fail
the test that started the process.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pace

KEY = "one key for every test"
READY_S = 15.0
STOP_S = 15.0
DRAIN_S = 2  # draintime of our ends: many end after those that they would wait for
SANITIZER = re.compile(
    r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |SUMMARY: \w+Sanitizer)"
)
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=99:second_deadlock_stack=1",
}
PORTS = (10000, 30000)  # below what the kernel draws from: no outgoing connection takes one
PORTS_EACH = 5000  # of one run, since several may go on at once
_taken: set[int] = set()
_random = random.Random(os.getpid())
_share: tuple[socket.socket, int] | None = None


def first_port() -> int:
    """Of the share of PORTS that is this process's alone: whose it is, has the name bound."""
    global _share  # pylint: disable=global-statement
    if not _share:
        for first in range(*PORTS, PORTS_EACH):
            owner = socket.socket(socket.AF_UNIX)
            try:
                owner.bind(f"\0kcptund tests: ports from {first}")
            except OSError:
                owner.close()
                continue
            _share = owner, first
            break
        else:
            raise RuntimeError("too many runs of these tests at once")
    return _share[1]


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody uses, for TCP and UDP alike, and not handed out before in this run."""
    for _ in range(1000):
        # some tests take neighbours as well, which are no other run's either
        port = first_port() + _random.randrange(PORTS_EACH - 16)
        if port in _taken:
            continue
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        _taken.add(port)
        return port
    raise RuntimeError("no free port")


def wait_for(what: str, condition: Callable[[], Any], seconds: float, step: float = 0.01) -> Any:
    """The first true answer of condition(); an AssertionError that says what never came."""
    seconds = pace.limit(seconds)
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(step)


def socket_inodes(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(entry.path)
            except OSError:
                continue
            if link.startswith("socket:["):
                found.add(link[8:-1])
    except OSError:
        pass
    return found


def bound(pid: int, proto: str, port: int) -> int:
    """How many sockets of pid are bound to (udp) or listen on (tcp) the port."""
    wanted, count = socket_inodes(pid), 0
    for table in (proto, proto + "6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            col = line.split()
            listening = proto == "udp" or col[3] == "0A"
            if listening and int(col[1].rsplit(":", 1)[1], 16) == port and col[9] in wanted:
                count += 1
    return count


def listens_on_path(pid: int, path: str) -> bool:
    """Whether pid listens on the unix socket; the file alone may be a dead daemon's."""
    wanted = socket_inodes(pid)
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        col = line.split()
        if len(col) == 8 and col[7] == path and col[6] in wanted and int(col[3], 16) & 0x10000:
            return True
    return False


class Failed(AssertionError):
    """A process ended, or did not begin, as it should."""


started: list[Process] = []  # by the test that runs


class Process:
    """One program under test: its log is a file, its end is ours."""

    def __init__(
        self, name: str, argv: list[str], log_path: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.log_path = log_path
        self.out_path = log_path.with_suffix(".out")
        with log_path.open("wb") as err, self.out_path.open("wb") as out:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **SANITIZER_ENV, **(env or {})},
            )
        started.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def out(self) -> str:
        return self.out_path.read_text(errors="replace")

    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        if self.running():
            self.popen.send_signal(number)

    def wait(self, seconds: float) -> int:
        seconds = pace.limit(seconds)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {seconds:g} s\n{self.tail()}") from None

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def tail(self, lines: int = 40) -> str:
        head = f"--- {self.name}: {self.log_path}"
        if not self.running():
            head += f" (ended, status {self.popen.returncode})"
        return "\n".join([head, *self.log().splitlines()[-lines:]])

    def check_log(self) -> None:
        if SANITIZER.search(self.log()):
            raise Failed(f"{self.name}: sanitizer report\n{self.tail(120)}")

    def wait_until(self, what: str, ready: Callable[[], bool]) -> None:
        """Until ready(), as long as the process lives."""

        def check() -> bool:
            if not self.running():
                status = self.popen.returncode
                raise Failed(f"{self.name} ended at start, status {status}\n{self.tail()}")
            return ready()

        wait_for(f"{self.name} on {what}\n{self.tail()}", check, READY_S)

    def wait_ready(self, proto: str, ports: list[int]) -> None:
        self.wait_until(
            f"{proto} {ports}", lambda: all(bound(self.pid, proto, port) for port in ports)
        )


def ini(sections: dict[str, dict[str, Any]]) -> str:
    """{"server a": {"listen": ":1"}} as INI text; booleans as kcptun writes them."""
    lines = []
    for title, keys in sections.items():
        lines.append(f"[{title}]")
        for name, value in keys.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"{name} = {text}")
        lines.append("")
    return "\n".join(lines)


class Daemon(Process):
    """kcptund with a configuration of any number of profiles."""

    def __init__(
        self,
        build: Path,
        directory: Path,
        name: str,
        sections: dict[str, dict[str, Any]],
        wait: bool = True,
        via: tuple[str, ...] = (),
    ) -> None:
        """via: a command that runs another, before ours."""
        self.build = build
        self.control = directory / f"{name}.sock"
        self.conf_path = directory / f"{name}.ini"
        self.sections = {**sections}
        self.sections["global"] = {
            "control": self.control,
            "draintime": DRAIN_S,
            **sections.get("global", {}),
        }
        self.conf_path.touch(0o600)  # it holds the key
        self.conf_path.write_text(ini(self.sections))
        super().__init__(
            name,
            [*via, str(build / "daemon/kcptund"), "-c", str(self.conf_path)],
            directory / f"{name}.log",
        )
        if wait:
            self.wait_started()

    def wait_started(self) -> None:
        listen = [str(s["listen"]) for s in self.sections.values() if "listen" in s]
        udp = [int(port) for text in listen for port in text.rsplit(":", 1)[1].split("-")]
        local = [str(s["localaddr"]) for s in self.sections.values() if "localaddr" in s]
        tcp = [int(text.rsplit(":", 1)[1]) for text in local if ":" in text]
        self.wait_ready("udp", udp)
        self.wait_ready("tcp", tcp)
        unix = [text for text in local if ":" not in text]
        for path in (*unix, str(self.control)):
            self.wait_until(f"unix {path}", lambda p=path: listens_on_path(self.pid, p))

    def ctl(self, *args: str, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
        argv = [str(self.build / "tools/kcptunctl"), "-s", str(self.control), *args]
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=pace.limit(timeout),
            check=False,
            env={**os.environ, **SANITIZER_ENV},
        )

    def request(self, command: str, **args: Any) -> dict[str, Any]:
        """What the control socket answers, whatever kcptunctl makes of it."""
        with socket.socket(socket.AF_UNIX) as s, s.makefile("rw") as lines:
            s.settimeout(pace.limit(20))
            s.connect(str(self.control))
            lines.write(json.dumps({"v": 1, "id": 1, "cmd": command, "args": args}) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
        if not answer["ok"] or answer["more"]:
            raise Failed(f"{command}: {answer}")
        return answer["data"]

    def stats(self) -> dict[str, Any]:
        done = self.ctl("stats", "--json")
        if done.returncode != 0:
            raise Failed(
                f"kcptunctl stats: {done.returncode} {done.stdout} {done.stderr}\n{self.tail()}"
            )
        return json.loads(done.stdout)

    def counters(self, profile: str | None = None) -> dict[str, int]:
        answer = self.stats()
        if profile is None:
            total = answer["total"]
            return total
        return next(p for p in answer["profiles"] if p["name"] == profile)["counters"]

    def wait_acknowledged(self, seconds: float = 10.0) -> None:
        """Until the other end has all there was: who is told to end before that waits for it."""
        wait_for("acknowledgements", lambda: not self.counters()["RingBufferSndBuffer"], seconds)

    def stop(self) -> None:
        """An orderly end: status 0 soon after SIGTERM, since nothing is open any more."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                self.wait(STOP_S)
            except Failed:
                self.kill()
                raise
        self.check_log()
        if self.popen.returncode != 0:
            raise Failed(f"{self.name} ended with status {self.popen.returncode}\n{self.tail()}")

    def discard(self) -> None:
        """For tests that ended it themselves, or do not care how it ends."""
        self.kill()
        self.check_log()


class TheirProcess(Process):
    """A packaged kcptun program: it knows no orderly end, and dies by the signal."""

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        try:
            self.wait(STOP_S)
        except Failed:
            self.kill()
        if re.search(r"^panic: ", self.log(), re.M):
            raise Failed(f"{self.name} panicked\n{self.tail()}")


class Mangler(Process):
    """udpmangle between two ends; report() is its counters, once it has stopped."""

    def __init__(
        self, build: Path, directory: Path, to: str, ways: dict[str, str], seed: int = 1
    ) -> None:
        """ways: {"both": SPEC} or {"up": SPEC, "down": SPEC}; {} relays faithfully."""
        self.port = free_port()
        argv = [
            str(build / "tests/udpmangle"),
            "--listen",
            f"127.0.0.1:{self.port}",
            "--to",
            to,
            "--seed",
            str(seed),
        ]
        for way, spec in ways.items():
            argv += [f"--{way}", spec]
        super().__init__("udpmangle", argv, directory / f"udpmangle-{self.port}.log")
        self.wait_ready("udp", [self.port])

    def stop(self) -> None:
        if not self.running():
            raise Failed(f"udpmangle ended early\n{self.tail()}")
        self.signal(signal.SIGTERM)
        if self.wait(5) != 0:
            raise Failed(f"udpmangle: status {self.popen.returncode}\n{self.tail()}")
        self.check_log()

    def report(self) -> dict[str, Any]:
        return json.loads(self.out())


@dataclass
class Options:
    """What one end of a tunnel is set to. `ours_only` goes into the INI of our end alone, `via`
    is what our end is started by."""

    crypt: str = "aes"
    smuxver: int = 1
    nocomp: bool = True
    datashard: int = 10
    parityshard: int = 3
    mode: str = "fast3"
    io: str = "auto"
    workers: int = 1
    conn: int = 1
    sndwnd: int = 1024
    rcvwnd: int = 1024
    more: dict[str, Any] = field(default_factory=dict)
    ours_only: dict[str, Any] = field(default_factory=dict)
    via: tuple[str, ...] = ()

    def common(self) -> dict[str, Any]:
        return {
            "key": KEY,
            "crypt": self.crypt,
            "mode": self.mode,
            "smuxver": self.smuxver,
            "nocomp": self.nocomp,
            "datashard": self.datashard,
            "parityshard": self.parityshard,
            "sndwnd": self.sndwnd,
            "rcvwnd": self.rcvwnd,
            **self.more,
        }


def start_ours(
    role: str, build: Path, directory: Path, opt: Options, name: str | None = None, **addresses: Any
) -> Daemon:
    """One kcptund with a single profile; addresses: listen and target, or localaddr and
    remoteaddr."""
    keys = {**opt.common(), **addresses, **opt.ours_only}
    if role == "client":
        keys["conn"] = opt.conn
    return Daemon(
        build,
        directory,
        name or f"ours-{role}",
        {"global": {"io": opt.io, "workers": opt.workers}, f"{role} t": keys},
        via=opt.via,
    )


def start_theirs(role: str, directory: Path, opt: Options, **addresses: Any) -> TheirProcess:
    keys = {**opt.common(), **addresses}
    if role == "client":
        keys["conn"] = opt.conn
    argv = [f"kcptun-{role}"]
    for name, value in keys.items():
        if isinstance(value, bool):
            argv += [f"--{name}"] if value else []
        else:
            argv += [f"--{name}", str(value)]
    process = TheirProcess(f"theirs-{role}", argv, directory / f"theirs-{role}.log")
    if role == "server":
        process.wait_ready("udp", [int(str(addresses["listen"]).rsplit(":", 1)[1])])
    else:
        process.wait_ready("tcp", [int(str(addresses["localaddr"]).rsplit(":", 1)[1])])
    return process


def have_theirs() -> bool:
    return bool(shutil.which("kcptun-client") and shutil.which("kcptun-server"))


@dataclass
class Tunnel:
    """A client and a server end, perhaps with the relay between; port: where applications
    connect."""

    client: Any
    server: Any
    port: int
    server_port: int
    mangler: Mangler | None = None


@contextmanager
def tunnel(
    build: Path,
    directory: Path,
    target: str,
    client: tuple[str, Options],
    server: tuple[str, Options],
    mangle: dict[str, str] | None = None,
    seed: int = 1,
) -> Iterator[Tunnel]:
    """client and server: ("ours" or "theirs", Options). On the way out both ends are checked."""

    def start(kind: str, role: str, opt: Options, **addresses: Any) -> Any:
        if kind == "ours":
            return start_ours(role, build, directory, opt, **addresses)
        return start_theirs(role, directory, opt, **addresses)

    server_port, port = free_port(), free_port()
    to = f"127.0.0.1:{server_port}"
    # All started are stopped; a failure in the body comes before one in stopping.
    with ExitStack() as on_way_out:
        far = start(server[0], "server", server[1], listen=to, target=target)
        on_way_out.callback(far.kill)
        mangler = None
        if mangle is not None:
            mangler = Mangler(build, directory, to, mangle, seed)
            on_way_out.callback(mangler.kill)
            to = f"127.0.0.1:{mangler.port}"
        near = start(client[0], "client", client[1], localaddr=f"127.0.0.1:{port}", remoteaddr=to)
        on_way_out.callback(near.kill)
        try:
            yield Tunnel(near, far, port, server_port, mangler)
        except BaseException:
            for process in (near, far):
                print(process.tail())
            raise
        for process in filter(None, (near, mangler, far)):
            process.stop()
