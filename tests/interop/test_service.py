"""tests/interop/test_service.py - what an operator's tools see of the daemon: metrics, the service
manager's notes, the log."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apps
import peers
import prom
import pytest
from test_process import one_pair


@pytest.fixture
def target() -> Iterator[apps.Service]:
    with apps.Service(apps.duplex) as service:
        yield service


def metrics_pair(target: str, **more: Any) -> tuple[dict[str, dict[str, Any]], int, int]:
    """A pair with metrics: sections, the local port, the metrics' port."""
    sections, port = one_pair(target)
    at = peers.free_port()
    sections["global"] = {"workers": 2, "metrics": f"127.0.0.1:{at}", **more}
    return sections, port, at


def http(at: int | str, request: bytes, timeout: float = 20.0) -> bytes:
    family = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(timeout)
        s.connect(at if isinstance(at, str) else ("127.0.0.1", at))
        s.sendall(request)
        return apps.recv_all(s)


def scrape(at: int | str) -> prom.Scrape:
    """HTTP/1.0, so that the body is not chunked."""
    head, _, body = http(at, b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.") and b" 200 " in head.splitlines()[0], head
    assert b"text/plain; version=0.0.4" in head, head
    return prom.parse(body.decode())


# --- metrics


def test_scraping_under_load(build: Path, tmp_path: Path, target: apps.Service) -> None:
    """Every scrape parses, counters never fall, and in the end they are what kcptunctl says."""
    sections, port, at = metrics_pair(target.address)
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    load = threading.Thread(
        target=lambda: [apps.exchange(port, 4 << 20, 4 << 20, n) for n in range(6)]
    )
    load.start()
    last = scrape(at)
    for _ in range(30):
        this = scrape(at)
        for key, value in last.samples.items():
            if last.types[prom.family_of(key[0], last.types)] != "gauge":
                assert this.samples[key] >= value, key
        last = this
    load.join()
    last, profiles = peers.wait_for("rest", lambda: settled(at, daemon), 20)
    for profile in profiles:
        labels = {"profile": profile["name"], "role": profile["role"]}
        for name in ("BytesSent", "InPkts", "StreamsOpened"):
            member = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            total = last.sum(f"kcptund_{member}_total", labels)
            assert total == profile["counters"][name] > 0, name
        assert last.sum("kcptund_rtt_seconds_count", labels) > 0
        assert last.sum("kcptund_queue_delay_seconds_count", labels) > 0
    assert last.sum("kcptund_worker_turn_seconds_count", {}) > 0
    assert last.sum("kcptund_worker_sessions", {}) == 2
    assert (
        last.sum("process_resident_memory_bytes", {}) > 1 << 20
        and abs(last.sum("process_start_time_seconds", {}) - time.time()) < 600
    )
    daemon.stop()


def settled(at: int, daemon: peers.Daemon) -> tuple[prom.Scrape, list[dict[str, Any]]] | None:
    """A scrape, and what kcptunctl says, with nothing having come or gone in between."""
    one = scrape(at)
    profiles = daemon.stats()["profiles"]
    time.sleep(0.2)
    two = scrape(at)
    names = ("kcptund_in_pkts_total", "kcptund_out_pkts_total")
    still = all(one.sum(name, {}) == two.sum(name, {}) for name in names)
    return (two, profiles) if still else None


def test_metrics_on_a_unix_socket(build: Path, tmp_path: Path) -> None:
    sections, _ = one_pair("127.0.0.1:1")
    path = tmp_path / "metrics"
    sections["global"] = {"metrics": path}
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    assert scrape(str(path)).sum("kcptund_build_info", {}) == 1
    path.unlink()
    again = f"metrics = {path}: somebody removed it; it is there again"
    peers.wait_for(again, lambda: again in daemon.log(), 60)
    assert scrape(str(path)).sum("kcptund_build_info", {}) == 1
    daemon.stop()
    assert not path.exists()


def test_memory_of_a_container(build: Path, tmp_path: Path) -> None:
    """A quarter of what the control group has, which in a container is the root of what it sees."""
    needs_own_mounts()
    sections, _, at = metrics_pair("127.0.0.1:1")
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup/memory.max").write_text(f"{256 << 20}\n")
    own_cgroup = f'mount --bind {tmp_path}/cgroup /sys/fs/cgroup && exec "$@"'
    via = ("unshare", "--mount", "sh", "-c", own_cgroup, "sh")
    daemon = peers.Daemon(build, tmp_path, "both", sections, via=via)
    assert scrape(at).sum("kcptund_worker_buffer_limit_bytes", {}) == (256 << 20) / 4 / 2  # workers
    daemon.stop()


def test_metrics_address_taken(build: Path, tmp_path: Path) -> None:
    sections, _, at = metrics_pair("127.0.0.1:1")
    with socket.create_server(("127.0.0.1", at)):
        daemon = peers.Daemon(build, tmp_path, "both", sections, wait=False)
        assert daemon.wait(20) == 1
    lines = [row for row in daemon.log().splitlines() if " error: " in row]
    assert len(lines) == 1 and f"metrics = 127.0.0.1:{at}" in lines[0], daemon.log()
    assert "in use" in lines[0]


REFUSED = {
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n": b"404",
    b"GET /metrics/../etc HTTP/1.1\r\nHost: x\r\n\r\n": b"404",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc": b"405",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": b"400",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200000 + b"\r\n\r\n": b"431",
}


def test_metrics_refuses_what_is_not_a_scrape(build: Path, tmp_path: Path) -> None:
    sections, _, at = metrics_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    for request, status in REFUSED.items():
        try:
            answer = http(at, request)
        except ConnectionError:  # it need not read to the end what it refuses
            answer = b""
        assert not answer or status in answer.splitlines()[0], (request[:40], answer[:80])
    scrape(at)
    daemon.stop()


def test_slow_clients_cannot_keep_others_away(build: Path, tmp_path: Path) -> None:
    """All places are taken by clients that say nothing, or half of something, or read nothing; they
    are gone after METRICS_IDLE_S."""
    sections, _, at = metrics_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    idlers = []
    for n in range(40):
        s = socket.create_connection(("127.0.0.1", at))
        idlers.append(s)
        if n % 3 == 1:
            s.sendall(b"GET /metr")
        elif n % 3 == 2:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    def answered() -> bool:
        try:
            return bool(scrape(at).samples)
        except (OSError, AssertionError):
            return False

    peers.wait_for("a scrape in spite of them", answered, 40, 0.2)
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) < 200
    for s in idlers:
        s.close()
    daemon.stop()


# --- the service manager


class Manager:
    """The service manager's end: what the daemon said, in order."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.path = path
        self.said: list[str] = []

    def listen(self, seconds: float) -> list[str]:
        """What came within the time."""
        end, start = time.monotonic() + seconds, len(self.said)
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                self.said += self.socket.recv(4096).decode().split("\n")
            except TimeoutError:
                break
        return self.said[start:]

    def wait(self, line: str, seconds: float = 20.0) -> None:
        """Until the line is said again."""
        peers.wait_for(line, lambda: line in self.listen(0.05), seconds)


@contextmanager
def managed(
    build: Path,
    directory: Path,
    sections: dict[str, dict[str, Any]],
    watchdog_s: float = 0,
    via: tuple[str, ...] = (),
) -> Iterator[tuple[peers.Daemon, Manager]]:
    manager = Manager(directory / "notify")
    env = {"NOTIFY_SOCKET": str(manager.path)}
    if watchdog_s:
        env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    words = [f"{name}={value}" for name, value in env.items()]
    via = ("env", *words, *via)
    daemon = peers.Daemon(build, directory, "both", sections, via=via, wait=False)
    try:
        yield daemon, manager
    finally:
        daemon.discard()


def needs_own_mounts() -> None:
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")


@contextmanager
def deaf_name_server(directory: Path) -> Iterator[tuple[str, ...]]:
    """What the command runs asks a name server that takes questions and never answers."""
    needs_own_mounts()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        deaf.bind((address, 53))
        files = {"resolv.conf": f"nameserver {address}\n", "nsswitch.conf": "hosts: files dns\n"}
        for name, text in files.items():
            (directory / name).write_text(text)
        mounts = [f"mount --bind {directory}/{name} /etc/{name}" for name in files]
        yield ("unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh")


def test_a_reload_waits_for_names_alone(build: Path, tmp_path: Path) -> None:
    """Name servers that do not answer hold up the change that needs them, for some seconds, and
    nothing else: not the watchdog, not other questions, not the end."""
    with apps.Service(apps.echo) as target, deaf_name_server(tmp_path) as via:
        sections, port = one_pair(target.address)
        with (
            managed(build, tmp_path, sections, watchdog_s=2, via=via) as (daemon, manager),
            ThreadPoolExecutor(2) as pool,
        ):
            manager.wait("READY=1")
            named = {"localaddr": f"nobody.example:{peers.free_port()}"}
            with_name = {**daemon.sections, "client d": {**sections["client c"], **named}}
            daemon.conf_path.write_text(peers.ini(with_name))
            pending = pool.submit(daemon.ctl, "reload")
            signs = 0
            while not pending.done():
                signs += manager.listen(0.2).count("WATCHDOG=1")
                daemon.request("status")
            assert signs, "the watchdog was not told meanwhile"
            assert pending.result().returncode == 1
            assert "name servers do not answer in time" in pending.result().stderr
            with apps.connect(port, 20) as s:
                apps.ask(s)
            pending = pool.submit(daemon.ctl, "reload")
            manager.listen(0.5)
            daemon.signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
            assert pending.result().returncode != 0


def test_the_watchdog_while_much_is_opened(build: Path, tmp_path: Path) -> None:
    """A reload that opens hundreds of sockets and steering programs takes a while."""
    sections, _ = one_pair("127.0.0.1:1")
    sections["global"] = {"workers": 2, "watch": False}
    with managed(build, tmp_path, sections, watchdog_s=0.1) as (daemon, manager):
        manager.wait("READY=1")
        port = peers.free_port()
        for i in range(600):
            listen = {"listen": f"127.0.{i // 250 + 1}.{i % 250 + 1}:{port}"}
            daemon.sections[f"server s{i}"] = {**sections["server s"], **listen}
        daemon.conf_path.write_text(peers.ini(daemon.sections))
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(daemon.ctl, "reload")
            signs = 0
            while not pending.done():
                signs += manager.listen(0.02).count("WATCHDOG=1")
        assert pending.result().returncode == 0, pending.result().stderr
        assert signs >= 4  # one before, one behind, and more


def test_notes_to_the_service_manager(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = {"draintime": 1}
        with managed(build, tmp_path, sections) as (daemon, manager):
            manager.wait("READY=1")
            assert "STATUS=2 tunnels, 0 sessions" in manager.said
            with apps.connect(port, 20) as s:  # ready means that it takes connections
                apps.ask(s)
            manager.wait("STATUS=2 tunnels, 2 sessions")
            daemon.signal(signal.SIGHUP)
            manager.wait("RELOADING=1")
            if "READY=1" not in manager.said[manager.said.index("RELOADING=1") :]:
                manager.wait("READY=1")
            assert any(re.fullmatch(r"MONOTONIC_USEC=\d+", line) for line in manager.said)
            daemon.signal(signal.SIGTERM)
            manager.wait("STOPPING=1")
            assert daemon.wait(20) == 0
            assert "WATCHDOG=1" not in manager.said


def test_nothing_is_ready_that_failed(build: Path, tmp_path: Path) -> None:
    sections, _, at = metrics_pair("127.0.0.1:1")
    with socket.create_server(("127.0.0.1", at)):
        with managed(build, tmp_path, sections) as (daemon, manager):
            assert daemon.wait(20) == 1
            assert "READY=1" not in manager.listen(0.2)


def ptrace(request: int, tid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, tid, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")


SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17


@contextmanager
def hung_worker(pid: int, name: str) -> Iterator[None]:
    """One thread of the process stands still."""
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        if Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip() == name:
            break
    else:
        raise AssertionError(f"no thread {name}")
    ptrace(SEIZE, tid)
    ptrace(INTERRUPT, tid)
    os.waitpid(tid, 0x40000000)  # __WALL
    try:
        yield
    finally:
        ptrace(DETACH, tid)


def test_the_watchdog_hears_of_life_only(build: Path, tmp_path: Path, scale: float) -> None:
    """While all workers turn, idle ones too, it is told at half its time; with one that hangs, no
    more, and again when it goes on."""
    sections, _ = one_pair("127.0.0.1:1")
    sections["global"] = {"workers": 2}
    limit = 1.0 * scale
    with managed(build, tmp_path, sections, watchdog_s=limit) as (daemon, manager):
        manager.wait("READY=1")
        assert manager.listen(limit * 4).count("WATCHDOG=1") >= 4
        with hung_worker(daemon.pid, "worker 1"):
            manager.listen(limit * 2)  # what was said before it hung
            assert "WATCHDOG=1" not in manager.listen(limit * 3)
            assert "worker 1" in daemon.log()
        manager.wait("WATCHDOG=1")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(20) == 0


def test_the_watchdog_while_workers_end(build: Path, tmp_path: Path) -> None:
    """One worker has nothing left and ends, the other still drains: both count as alive."""
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = {"workers": 2, "draintime": 600}
        with managed(build, tmp_path, sections, watchdog_s=1) as (daemon, manager):
            manager.wait("READY=1")
            with apps.connect(port, 20) as s:
                apps.ask(s)
                daemon.signal(signal.SIGTERM)
                manager.wait("STOPPING=1")
                manager.listen(1.0)
                assert daemon.running()
                manager.wait("WATCHDOG=1")
                apps.ask(s)
            assert daemon.wait(20) == 0


# --- the log


def test_the_log_as_json(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        log = tmp_path / "kcptund.log"
        sections["global"] = {"log": log, "logformat": "json", "loglevel": "debug"}
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s)
        log.rename(tmp_path / "old.log")
        daemon.signal(signal.SIGHUP)
        peers.wait_for("the log's file", log.exists, 10)
        daemon.stop()
        lines = (tmp_path / "old.log").read_text() + log.read_text()
        rows = [json.loads(line) for line in lines.splitlines()]
        assert any("is ready" in row["message"] for row in rows)
        for row in rows:
            assert set(row) <= {"time", "level", "message", "held_back"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])
            assert row["level"] in ("error", "warning", "info", "debug")


@pytest.mark.parametrize(("text", "priority"), (("[client c]\nmtu = 1\n", 3), ("", 4)))
def test_the_journal_gets_priorities(
    build: Path, tmp_path: Path, text: str, priority: int
) -> None:
    """Of what is wrong with the configuration, too: from the first line."""
    conf = tmp_path / "kcptun.ini"
    conf.write_text(text)
    # the manager tells of which device and inode the journal's end is: what that is does not matter
    as_journal = 'JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec "$@"'
    daemon = subprocess.Popen(
        ["sh", "-c", as_journal, "sh", build / "daemon/kcptund", "-c", conf],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = daemon.stderr.readline()
    finally:
        daemon.kill()
        daemon.wait()
    assert line.startswith(f"<{priority}>{conf}: " if priority == 4 else f"<3>{conf}:2: "), line


def test_the_log_to_syslog(build: Path, tmp_path: Path) -> None:
    """With a /dev of its own, in which the test listens as the system's log."""
    sections, _ = one_pair("127.0.0.1:1")
    sections["global"] = {"log": "syslog", "io": "epoll"}
    (tmp_path / "dev").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(tmp_path / "dev/log"))
        system.settimeout(20)
        own_dev = f'mount --bind {tmp_path}/dev /dev && exec "$@"'
        via = ("unshare", "--mount", "sh", "-c", own_dev, "sh")
        daemon = peers.Daemon(build, tmp_path, "both", sections, via=via)
        while "is ready" not in (line := system.recv(4096).decode()):
            pass
        assert re.fullmatch(
            rf"<30>\w+ +\d+ [\d:]+ kcptund\[{daemon.pid}\]: kcptund .* is ready: .*", line
        ), line
        daemon.stop()
        assert not daemon.log()


def test_a_noisy_peer_does_not_flood_the_log(build: Path, tmp_path: Path) -> None:
    """Hundreds of streams to a target that refuses: some lines, and how many there were not."""
    sections, port = one_pair(f"127.0.0.1:{peers.free_port()}")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    began = time.monotonic()
    for _ in range(500):
        try:
            with apps.connect(port, 20) as s:
                s.recv(1)
        except ConnectionError:
            pass
    peers.wait_for("all failures", lambda: daemon.counters("s")["DialErrors"] == 500, 30)
    # LOG_BURST, and one more every LOG_REFILL_US
    allowed = 60 + (time.monotonic() - began) / 2
    assert daemon.log().count("cannot reach the target") < allowed

    def accounted() -> bool:
        log = daemon.log()
        written = log.count("cannot reach the target") - len(
            re.findall(r"held back: \".*cannot reach the target", log)
        )
        told = sum(int(n) for n in re.findall(r"cannot reach.*\((\d+) more like this", log))
        told += sum(int(n) for n in re.findall(r"(\d+) more messages.*cannot reach", log))
        return "more messages were held back" in log and written + told == 500

    peers.wait_for("the sum", accounted, 60, 0.2)
    daemon.stop()


SECRET, OLD_SECRET = "swordfish-4711-plain", "mackerel-0815-plain"


def derived(secret: str) -> list[str]:
    """Ways a key may be written by mistake: as it is, its derivation in hex."""
    import hashlib

    key = hashlib.pbkdf2_hmac("sha1", secret.encode(), b"kcp-go", 4096, 32).hex()
    return [secret, secret.encode().hex(), key, key[:32], key.upper()]


def assert_no_secret(text: str) -> None:
    for word in (*derived(SECRET), *derived(OLD_SECRET)):
        assert word not in text, text


BROKEN = (  # a file in which a key stands somewhere it should not, or beside a mistake
    f"[server a]\nkey = {SECRET}\nmtu = 9\n",
    f"[server a]\nkey {SECRET}\n",
    f"[server a]\nkey = {SECRET}\nkey = {OLD_SECRET}\n",
    f'[server a]\nkey = "{SECRET}\n',
    f'[server a]\nkey = "{SECRET}" {OLD_SECRET}\n',
    f"[server a]\nkey = {SECRET}\nkeyfile = /nowhere\n",
    f"[server a]\nkeys = {SECRET}\n",
    f"key = {SECRET}\n",
    f"[global]\nkey = {SECRET}\n",
    f"[server a]\nlisten = 127.0.0.1:1\nkey = \x01{SECRET}\n",
    f"[server a]\nlisten = 127.0.0.1:1\n  key = {SECRET}\n mtu = 9\n",
    f"[server a]\nkey = {SECRET}\ncrypt = {SECRET[:4]}\n",
)


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_no_secret_in_complaints(build: Path, tmp_path: Path, number: int) -> None:
    path = tmp_path / "broken.ini"
    path.write_text(BROKEN[number])
    for flags in ((), ("-t",), ("-T",)):
        done = subprocess.run(
            [str(build / "daemon/kcptund"), *flags, "-c", str(path)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 78, (BROKEN[number], done.stderr)
        assert_no_secret(done.stdout + done.stderr)


def test_no_secret_in_a_talkative_log(build: Path, tmp_path: Path) -> None:
    """At level debug, with traffic, a peer with another key, junk, counters, and both keys used."""
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["server s"].update(key=SECRET, oldkey=OLD_SECRET)
        sections["client c"].update(key=OLD_SECRET)
        other = peers.free_port()
        server = sections["server s"]["listen"]
        sections["client wrong"] = {
            "localaddr": f"127.0.0.1:{other}",
            "remoteaddr": server,
            "key": SECRET[::-1],
        }
        at = peers.free_port()
        sections["global"] = {
            "loglevel": "debug",
            "metrics": f"127.0.0.1:{at}",
            "draintime": 1,
        }
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        with apps.connect(port, 20) as s, apps.connect(other, 20) as wrong:
            wrong.sendall(b"x" * 1000)
            apps.ask(s, SECRET.encode())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
                host, number = server.rsplit(":", 1)
                for size in range(0, 1400, 50):
                    junk.sendto(os.urandom(size), (host, int(number)))
            peers.wait_for("refusals", lambda: daemon.counters("s")["InCsumErrors"] > 0, 10)
            daemon.signal(signal.SIGUSR1)
            peers.wait_for("counters", lambda: "counters: " in daemon.log(), 10)
            body = http(at, b"GET /metrics HTTP/1.0\r\n\r\n").decode()
            stats = daemon.ctl("stats", "--json").stdout
            argv = Path(f"/proc/{daemon.pid}/cmdline").read_text()
        daemon.signal(signal.SIGTERM)
        daemon.wait(20)
        daemon.check_log()
        assert_no_secret(daemon.log() + daemon.out() + body + stats + argv)
