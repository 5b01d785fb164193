"""tests/interop/test_linkem.py - kcptun-linkem: each setting seen in real packets, TCP through it,
and nothing left behind however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peers
import pytest

PAGE = Path(__file__).resolve().parents[2] / "packaging/man/kcptun-linkem.1"
ADDRESS = ("198.18.0.1", "198.18.0.2")
NAMES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS = 35
number = itertools.count()
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("this needs root and /dev/net/tun")


class Link:
    """A running kcptun-linkem with named namespaces."""

    def __init__(self, build: Path, directory: Path, *args: str, name: str = "") -> None:
        self.name = name or f"test{os.getpid()}-{next(number)}"
        self.json_path = directory / f"{self.name}.json"
        argv = [str(build / "tools/kcptun-linkem"), "--name", self.name]
        argv += ["--json", str(self.json_path), *args]
        self.process = peers.Process("linkem", argv, directory / f"{self.name}-{next(number)}.log")
        self.process.wait_until("two namespaces", lambda: "B: " in self.process.log())

    def path(self, end: int) -> Path:
        return NAMES / f"{self.name}-{'ab'[end]}"

    def inside(self, end: int, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket belongs to the namespace that the thread was in when it made it."""
        made: list[socket.socket] = []

        def work() -> None:
            with self.path(end).open() as space:
                assert libc.setns(space.fileno(), CLONE_NEWNET) == 0, ctypes.get_errno()
            made.append(make())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]

    def udp(self) -> tuple[socket.socket, socket.socket]:
        """Connected to each other, with room for all that a test sends."""
        ends = []
        for end in range(2):
            s = self.inside(end, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
            s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            s.bind((ADDRESS[end], 4000))
            ends.append(s)
        for end, s in enumerate(ends):
            s.connect((ADDRESS[not end], 4000))
        return ends[0], ends[1]

    def stop(self) -> dict:
        self.process.signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.process.tail()
        self.process.check_log()
        return json.loads(self.json_path.read_text())


@pytest.fixture
def link(build: Path, tmp_path: Path) -> Iterator[Callable[..., Link]]:
    started: list[Link] = []

    def start(*args: str, name: str = "") -> Link:
        started.append(Link(build, tmp_path, *args, name=name))
        return started[-1]

    yield start
    for one in started:
        if one.process.running():
            one.stop()


@pytest.fixture
def punctual() -> Iterator[None]:
    """For tests that compare times: this thread comes before whatever else the machine has to do,
    as those of the program do by themselves."""
    was = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    yield
    os.sched_setscheduler(0, *was)


def send(s: socket.socket, count: int, size: int = 100, gap_s: float = 0.0) -> list[float]:
    """Numbered datagrams; when each was sent."""
    times = []
    for i in range(count):
        times.append(time.time())
        s.send(struct.pack("!I", i) + bytes(size - 4))
        if gap_s:
            time.sleep(gap_s)
    return times


def receive(s: socket.socket, silence_s: float = 1.0) -> list[tuple[int, float]]:
    """(number, when the kernel got it) of each datagram, until there is silence."""
    got = []
    s.settimeout(silence_s)
    while True:
        try:
            data, aux, _, _ = s.recvmsg(2000, 100)
        except TimeoutError:
            return got
        seconds, nanos = struct.unpack("qq", aux[0][2][:16])
        got.append((struct.unpack("!I", data[:4])[0], seconds + nanos * 1e-9))


def test_rate_and_queue(link: Callable[..., Link], punctual: None) -> None:
    one = link("--rate", "8mbit", "--queue", "500ms")
    a, b = one.udp()
    send(a, 800, 972)  # 1000 bytes of IP: 1 ms each
    got = receive(b)
    took = got[-1][1] - got[0][1]
    counts = one.stop()["a-b"]
    # sending took some time too, in which the link went on
    assert 500 <= len(got) <= 700
    assert counts["dropped"] == 800 - len(got)
    assert len(got) * 0.001 - 0.03 <= took <= len(got) * 0.001 * 1.2 + 0.05
    assert counts["wire_bytes"] == 1000 * len(got)
    assert 490 <= counts["wait_max_ms"] <= 501


def test_delay(link: Callable[..., Link], punctual: None) -> None:
    one = link("--delay", "30ms", "--plan", "b-a delay 10ms")
    ends = one.udp()
    for sender, receiver, delay in ((0, 1, 0.030), (1, 0, 0.010)):
        times = send(ends[sender], 30, gap_s=0.005)
        late = [when - times[i] - delay for i, when in receive(ends[receiver], 0.5)]
        assert len(late) == 30
        assert min(late) > -0.0005
        assert sorted(late)[15] < 0.02
    one.stop()


def runs_of(missing: list[int]) -> int:
    return sum(1 for i, n in enumerate(missing) if not i or missing[i - 1] != n - 1)


@pytest.mark.parametrize("burst", (1, 4))
def test_loss(link: Callable[..., Link], burst: int) -> None:
    one = link("--loss", "10%", "--burst", str(burst), "--seed", "5")
    a, b = one.udp()
    send(a, 5000)
    seen = {i for i, _ in receive(b, 0.5)}
    missing = [i for i in range(5000) if i not in seen]
    counts = one.stop()["a-b"]
    assert counts["lost"] == len(missing) == 5000 - counts["out"]
    assert 350 <= len(missing) <= 650
    mean_run = len(missing) / runs_of(missing)
    assert mean_run < 1.3 if burst == 1 else 3.2 < mean_run < 4.9


def test_duplication_and_corruption(link: Callable[..., Link]) -> None:
    one = link("--duplicate", "10%", "--plan", "b-a duplicate 0 corrupt 20%")
    a, b = one.udp()
    send(a, 3000)
    got = [i for i, _ in receive(b, 0.5)]
    assert sorted(set(got)) == list(range(3000))
    assert 200 <= len(got) - 3000 <= 400
    send(b, 3000)
    back = [i for i, _ in receive(a, 0.5)]
    counts = one.stop()
    assert counts["a-b"]["duplicated"] == len(got) - 3000
    assert 450 <= counts["b-a"]["corrupted"] <= 750
    assert len(back) == 3000 - counts["b-a"]["corrupted"]  # the kernel's checksums find every one


@pytest.mark.parametrize("reorder", ("on", "off"))
def test_jitter(link: Callable[..., Link], punctual: None, reorder: str) -> None:
    one = link("--delay", "5ms", "--jitter", "20ms", "--reorder", reorder)
    a, b = one.udp()
    times = send(a, 400, gap_s=0.0005)
    got = receive(b, 0.5)
    late = sorted(when - times[i] for i, when in got)
    overtaken = sum(1 for (i, _), (k, _) in itertools.pairwise(got) if k < i)
    one.stop()
    assert len(got) == 400
    assert late[0] > 0.0045
    assert late[360] - late[40] > 0.005
    assert overtaken > 50 if reorder == "on" else overtaken == 0


def test_schedule(link: Callable[..., Link], punctual: None) -> None:
    one = link("--plan", "at 1s a-b loss 100%; at 2s loss 0 delay 100ms")
    a, b = one.udp()
    begun = time.time()
    times = send(a, 130, gap_s=0.02)
    got = dict(receive(b, 0.5))
    one.stop()
    lost = [times[i] - begun for i in range(130) if i not in got]
    assert lost, "no blackout"
    assert 0.3 <= lost[0] <= 1.1  # linkem began somewhat before us
    assert 0.8 <= lost[-1] - lost[0] <= 1.2
    after = [got[i] - times[i] for i in got if times[i] - begun > lost[-1]]
    assert len(after) >= 5
    assert min(after) > 0.0995


def test_both_versions_of_ip_and_the_two_ends(link: Callable[..., Link]) -> None:
    one = link("--delay", "1ms")

    def make() -> socket.socket:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)

    s = [one.inside(end, make) for end in range(2)]
    s[1].bind(("2001:2::2", 4000))
    s[1].settimeout(5)
    s[0].sendto(b"x" * 1452, ("2001:2::2", 4000))  # a whole packet
    data, source = s[1].recvfrom(2000)
    assert (len(data), source[0]) == (1452, "2001:2::1")
    counts = one.stop()
    assert counts["a-b"]["in"] == 1  # and nothing of the kernel's own
    assert counts["b-a"]["in"] == 0


def serve(listener: socket.socket, data: bytes) -> None:
    s, _ = listener.accept()
    with s:
        s.sendall(data)


def test_tcp_passes(link: Callable[..., Link]) -> None:
    one = link("--rate", "50mbit", "--queue", "50ms", "--delay", "5ms", "--loss", "1%")
    data = os.urandom(4 << 20)
    listener = one.inside(1, socket.socket)
    listener.bind((ADDRESS[1], 5000))
    listener.listen()
    thread = threading.Thread(target=serve, args=(listener, data))
    thread.start()
    client = one.inside(0, socket.socket)
    client.settimeout(60)
    client.connect((ADDRESS[1], 5000))
    digest, size = hashlib.sha256(), 0
    while part := client.recv(65536):
        digest.update(part)
        size += len(part)
    thread.join()
    assert size == len(data)
    assert digest.digest() == hashlib.sha256(data).digest()
    counts = one.stop()["b-a"]
    assert counts["lost"] > 5
    assert counts["device_dropped"] == 0


def leftovers(one: Link) -> list[str]:
    lock = Path(f"/run/kcptun-linkem.{one.name}.lock")
    return [str(p) for p in (one.path(0), one.path(1), lock) if p.exists()]


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
def test_signals_leave_nothing(link: Callable[..., Link], number: int) -> None:
    one = link()
    assert len(leftovers(one)) == 3
    one.process.signal(number)
    assert one.process.wait(20) == 0
    assert leftovers(one) == []


def test_kill_is_cleaned_up_by_the_next(link: Callable[..., Link]) -> None:
    one = link()
    one.process.kill()
    assert len(leftovers(one)) == 3
    again = link(name=one.name)
    a, b = again.udp()
    send(a, 3)
    assert len(receive(b, 0.5)) == 3
    again.stop()
    assert leftovers(again) == []


def run(build: Path, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    argv = [str(build / "tools/kcptun-linkem"), *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **more)


def test_a_name_in_use(link: Callable[..., Link], build: Path) -> None:
    one = link()
    done = run(build, "--name", one.name, "--time", "1")
    assert done.returncode == 1
    assert "in use" in done.stderr
    one.stop()
    (NAMES / f"{one.name}-b").touch()  # somebody else's
    done = run(build, "--name", one.name, "--time", "1")
    (NAMES / f"{one.name}-b").unlink()
    assert done.returncode == 1
    assert leftovers(one) == []


def test_commands(build: Path) -> None:
    assert run(build, "-q", "--", "A:", "sh", "-c", "exit 7").returncode == 7
    assert run(build, "-q", "--", "B:", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert run(build, "-q", "--", "A:", "/nonexistent").returncode == 127
    script = "sleep 0.2; cat /proc/net/fib_trie"
    done = run(build, "-q", "--", "A:", "sh", "-c", script, "B:", "sleep", "99")
    assert done.returncode == 0
    assert ADDRESS[0] in done.stdout
    assert done.stderr == ""
    done = run(build, "-q", "--time", "0.3", "--", "A:", "sleep", "99")
    assert done.returncode == 0


def test_nothing_of_a_command_stays(build: Path, tmp_path: Path) -> None:
    """A daemon that left its parent is ended too, one that will not listen is killed."""
    pid_file = tmp_path / "pid"
    script = f"(trap '' TERM; setsid sh -c 'echo $$ > {pid_file}; exec sleep 99') & sleep 0.5"
    assert run(build, "-q", "--", "A:", "sh", "-c", script).returncode == 0
    assert not Path(f"/proc/{pid_file.read_text().strip()}").exists()


@contextlib.contextmanager
def spaces(*names: str) -> Iterator[None]:
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=True)


def test_given_namespaces_stay(build: Path) -> None:
    names = [f"given{os.getpid()}-{end}" for end in "ab"]
    with spaces(*names):
        show = "ip -br address show link0".split()
        done = run(build, "--netns", ",".join(names), "--", "A:", *show)
        assert done.returncode == 0, done.stderr
        assert ADDRESS[0] in done.stdout
        assert all((NAMES / name).exists() for name in names)
    done = run(build, "--netns", "nowhere,neither", "--time", "1")
    assert done.returncode == 1
    assert "/run/netns/nowhere" in done.stderr


def test_mistakes(build: Path) -> None:
    for args, word in (
        (["--rate", "fast"], "rate fast: not a RATE"),
        (["--loss", "150%"], "out of range"),
        (["--plan", "at 5s"], "no setting"),
        (["--name", "../x"], "letters"),
        (["--netns", "one"], "comma"),
        (["--mtu", "100"], "576..9000"),
        (["--", "ls"], "begins with A: or B:"),
        (["--", "A:"], "one command for each end"),
        (["--nonsense"], "nonsense"),
    ):
        done = run(build, *args)
        assert done.returncode == 2, args
        assert word in done.stderr, (args, done.stderr)
    done = run(build, "--time", "1", "-q", preexec_fn=lambda: os.setresuid(65534, 65534, 65534))
    assert done.returncode == 1
    assert "needs root" in done.stderr


def examples() -> list[str]:
    text = PAGE.read_text().split(".SH EXAMPLES", 1)[1]
    blocks = re.findall(r"\.nf\n(.*?)\.fi\n", text, re.S)
    return [b.replace("\\-", "-").replace("\\e", "\\") for b in blocks]


@pytest.mark.parametrize("example", examples(), ids=lambda text: text.split("\n")[0][:40])
def test_examples_of_the_manual(build: Path, tmp_path: Path, example: str) -> None:
    """With a /run of their own, since they use names that others may use as well."""
    env = {**os.environ, **peers.SANITIZER_ENV, "PATH": f"{build / 'tools'}:{os.environ['PATH']}"}
    script = f"mount -t tmpfs none /run\n{example}\nls -R /run >left"
    done = subprocess.run(
        ["unshare", "-m", "bash", "-ec", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "linkem" not in (tmp_path / "left").read_text()
    for made in set(tmp_path.iterdir()) - {tmp_path / "left"}:
        assert made.stat().st_size > 100


def test_help_and_manual_agree(build: Path) -> None:
    """Every option of --help has its place in the manual, and the other way round."""
    page = PAGE.read_text().replace("\\-", "-")
    shown = set(re.findall(r"--[a-z-]+", run(build, "--help").stdout))
    told = set(re.findall(r"--[a-z-]+", page))
    assert shown == told
