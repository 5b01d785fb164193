"""tests/interop/test_upgrade.py - a new process takes the service over while everything goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import apps
import pace
import peers
import prom
import pytest
from test_process import client_section, one_pair, server_section
from test_service import Manager

PIECE = bytes(range(256)) * 64


def alive(pid: int) -> bool:
    """Whether it runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Service(peers.Daemon):
    """A daemon and the processes that came of it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pids = [self.pid]

    def now(self) -> int:
        return self.request("status")["pid"]

    def upgrade(self) -> int:
        done = self.ctl("upgrade", "--json", timeout=40)
        assert done.returncode == 0, done.stderr + self.tail()
        self.pids.append(json.loads(done.stdout)["pid"])
        assert self.now() == self.pids[-1], self.tail()
        return self.pids[-1]

    def finishing(self) -> list[dict[str, int]]:
        return self.request("status")["finishing"]

    def wait_finished(self, seconds: float) -> None:
        """All but the newest process end by themselves."""
        peers.wait_for("old processes to end", lambda: not self.olds(), seconds, 0.05)
        peers.wait_for("their end to be told", lambda: not self.finishing(), 10)

    def olds(self) -> list[int]:
        return [pid for pid in self.pids[:-1] if alive(pid)]

    def end(self) -> None:
        """An orderly end of the newest, which ends the others."""
        os.kill(self.pids[-1], signal.SIGTERM)
        peers.wait_for("all to end", lambda: not any(map(alive, self.pids)), 20, 0.05)
        self.check_log()

    def destroy(self) -> None:
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.kill()


@contextmanager
def service(*args: Any, **more: Any) -> Iterator[Service]:
    daemon = Service(*args, **more)
    try:
        yield daemon
        daemon.end()
    except BaseException:
        print(daemon.tail())
        raise
    finally:
        daemon.destroy()


def scrape(path: Path) -> prom.Scrape:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        head, _, body = apps.recv_all(s).partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0]
    return prom.parse(body.decode())


def assert_grown(before: prom.Scrape, after: prom.Scrape, name: str) -> None:
    """Every sample of that name is still there, and no smaller."""
    keys = [key for key in before.samples if key[0] == name]
    assert keys
    for key in keys:
        assert after.samples[key] >= before.samples[key], key


class Talker:
    """A stream that is asked and answered all the time, and checks every byte."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.rounds = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._socket = apps.connect(port, 30)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                apps.ask(self._socket, PIECE)
                self.rounds += 1
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e

    def wait_rounds(self, more: int) -> None:
        goal = self.rounds + more
        peers.wait_for("talk", lambda: self.rounds >= goal or self.error is not None, 30)
        assert self.error is None, self.error

    def end(self) -> None:
        self._stop.set()
        self._thread.join(pace.limit(30))
        self._socket.close()
        assert self.error is None, self.error


@pytest.fixture(params=("epoll", "io_uring"))
def io(request: pytest.FixtureRequest, io_uring_works: bool) -> str:
    if request.param == "io_uring" and not io_uring_works:
        pytest.skip("no io_uring here")
    return request.param


@pytest.mark.parametrize("workers", (1, 2))
def test_under_load(build: Path, tmp_path: Path, io: str, workers: int) -> None:
    """Both roles in one daemon, several upgrades in a row: every stream goes on to its end, new
    ones find the new process, counters carry on, and old processes end with their streams."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        bulk = stack.enter_context(apps.Service(apps.duplex))
        sections, port = one_pair(target.address)
        more, bulk_port = one_pair(bulk.address)
        for title, keys in more.items():
            sections[title + "2"] = keys
        metrics = tmp_path / "metrics.sock"
        sections["global"] = {"io": io, "workers": workers, "metrics": metrics}
        daemon = stack.enter_context(service(build, tmp_path, "both", sections))
        talkers = []
        for i in range(3):
            talkers += [Talker(port), Talker(port)]
            for talker in talkers:
                talker.wait_rounds(3)
            job = threading.Thread(
                target=apps.exchange, args=(bulk_port, 6 << 20, 6 << 20, i), daemon=True
            )
            job.start()
            before, turns = daemon.counters(), scrape(metrics)
            daemon.upgrade()
            after, more_turns = daemon.counters(), scrape(metrics)
            for name in ("BytesSent", "BytesReceived", "InPkts", "StreamsOpened", "ActiveOpens"):
                assert after[name] >= before[name], (name, before[name], after[name])
            for family in ("turn_seconds_bucket", "turn_seconds_sum", "turns_total"):
                assert_grown(turns, more_turns, f"kcptund_worker_{family}")
            for talker in talkers:
                talker.wait_rounds(3)
            job.join(pace.limit(60))
            assert not job.is_alive()
        assert not bulk.errors, bulk.errors
        assert daemon.finishing()
        for talker in talkers:
            talker.end()
        daemon.wait_finished(30)
        with apps.connect(port, 20) as s:
            apps.ask(s)
        assert daemon.counters()["StreamsReset"] == 0
        for name, streams in (("c", len(talkers) + 1), ("s", len(talkers) + 1), ("c2", 3)):
            seen = daemon.counters(name)
            assert seen["StreamsOpened"] == streams, (name, seen["StreamsOpened"])
            assert seen["BytesSent"] > streams * len(PIECE)
        assert not target.errors, target.errors


def test_each_end_alone(build: Path, tmp_path: Path, io: str) -> None:
    """Server and client in daemons of their own: either is upgraded while the other is not."""
    port, server_port = peers.free_port(), peers.free_port()
    conf = {"io": io, "workers": 2, "draintime": 2}
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        server = stack.enter_context(
            service(
                build,
                tmp_path,
                "server",
                {"global": conf, "server s": server_section(server_port, target.address)},
            )
        )
        client = stack.enter_context(
            service(
                build,
                tmp_path,
                "client",
                {"global": conf, "client c": client_section(port, server_port, conn=3)},
            )
        )
        talkers = [Talker(port) for _ in range(6)]
        for daemon in (server, client, server):
            for talker in talkers:
                talker.wait_rounds(3)
            daemon.upgrade()
            talkers.append(Talker(port))
        for talker in talkers:
            talker.wait_rounds(3)
            talker.end()
        server.wait_finished(30)
        client.wait_finished(30)
        assert not target.errors, target.errors


@pytest.mark.parametrize("role", ("server", "client"))
def test_beside_kcptun(build: Path, tmp_path: Path, theirs: None, role: str) -> None:
    """The packaged peer keeps the session it has: old and new streams in it go on."""
    port, server_port = peers.free_port(), peers.free_port()
    opt = peers.Options()
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        far = {"listen": f"127.0.0.1:{server_port}", "target": target.address}
        near = {"localaddr": f"127.0.0.1:{port}", "remoteaddr": f"127.0.0.1:{server_port}"}
        keys = {**opt.common(), **(far if role == "server" else near)}
        conf = {"global": {"workers": 2, "draintime": 2}, f"{role} t": keys}
        if role == "server":
            daemon = stack.enter_context(service(build, tmp_path, "ours", conf))
            peer = peers.start_theirs("client", tmp_path, opt, **near)
        else:
            peer = peers.start_theirs("server", tmp_path, opt, **far)
            stack.callback(peer.kill)
            daemon = stack.enter_context(service(build, tmp_path, "ours", conf))
        stack.callback(peer.kill)
        talkers = [Talker(port), Talker(port)]
        for _ in range(2):
            for talker in talkers:
                talker.wait_rounds(3)
            daemon.upgrade()
            talkers.append(Talker(port))
        for talker in talkers:
            talker.wait_rounds(10)
            talker.end()
        assert daemon.counters()["Disowned"] == 0
        assert not target.errors, target.errors


def test_the_limit(build: Path, tmp_path: Path, scale: float) -> None:
    """An idle stream stays until upgradetime is over, and ends by a reset then."""
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        limit = round(4 * scale)
        sections["global"] = {"upgradetime": limit}
        with service(build, tmp_path, "both", sections) as daemon:
            with apps.connect(port, limit + 20) as s:
                apps.ask(s)
                began = time.monotonic()
                daemon.upgrade()
                old = peers.wait_for("news", daemon.finishing, 5)
                assert old[0]["pid"] == daemon.pid and old[0]["left_s"] <= limit
                with pytest.raises(ConnectionResetError):
                    s.recv(1)
                assert time.monotonic() - began > limit - 1
            daemon.wait_finished(10)


def writes(pid: int, directory: Path) -> set[str]:
    """Names of the files there that a process has open."""
    names = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            names.add(os.readlink(fd))
    return {Path(name).name for name in names if Path(name).parent == directory} & {"log", "log.1"}


def test_the_log_is_moved_away(build: Path, tmp_path: Path) -> None:
    """Processes that finish do not go on writing to a file that was rotated."""
    log = tmp_path / "log"
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        with service(build, tmp_path, "both", sections) as daemon, apps.connect(port) as s:
            apps.ask(s)
            for _ in range(2):
                assert daemon.ctl("set", f"log={log}").returncode == 0
                daemon.upgrade()
            olds = daemon.pids[:-1]
            assert all(writes(pid, tmp_path) == {"log"} for pid in olds)
            log.rename(tmp_path / "log.1")
            os.kill(daemon.pids[-1], signal.SIGHUP)
            for pid in olds:
                peers.wait_for("a new log", lambda p=pid: writes(p, tmp_path) == {"log"}, 20, 0.05)
            apps.ask(s)


def test_what_was_drained_stays_so(build: Path, tmp_path: Path) -> None:
    """Over two upgrades, while another program has the port."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        sections, port = one_pair(target.address)
        more, other = one_pair(target.address)
        sections["client d"] = more["client c"]
        sections["server t"] = more["server s"]
        daemon = stack.enter_context(service(build, tmp_path, "both", sections))
        assert daemon.ctl("drain", "c").returncode == 0
        peers.wait_for("no listener", lambda: not peers.bound(daemon.pid, "tcp", port), 10)
        thief = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        for _ in range(2):
            pid = daemon.upgrade()
            profiles = daemon.request("status")["profiles"]
            assert [p["name"] for p in profiles if p["draining"]] == ["c"], profiles
            with apps.connect(other, 20) as s:
                apps.ask(s)
        thief.close()
        assert not peers.bound(pid, "tcp", port)
        assert daemon.ctl("undrain", "c").returncode == 0
        peers.wait_for("a listener", lambda: peers.bound(pid, "tcp", port), 10)
        with apps.connect(port, 20) as s:
            apps.ask(s)


def test_limits_count_the_old_sessions(build: Path, tmp_path: Path) -> None:
    """A session that goes on in the old process leaves no room for another, till it ends."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        conf, client, port, server_port = apart(build, tmp_path, target.address)
        stack.callback(client.discard)
        conf["server s"]["maxsessions"] = 1
        daemon = stack.enter_context(service(build, tmp_path, "server", conf))
        talker = Talker(port)
        talker.wait_rounds(3)
        for _ in range(2):
            daemon.upgrade()
            talker.wait_rounds(3)
        second = tmp_path / "second"
        second.mkdir()
        mine = peers.free_port()
        other = peers.Daemon(
            build, second, "client", {"client c": client_section(mine, server_port)}
        )
        stack.callback(other.discard)
        refused = daemon.counters()["RefusedLimit"]

        def answered() -> bool:
            try:
                with apps.connect(mine, 20) as s:
                    apps.ask(s)
            except (OSError, EOFError):
                return False
            return True

        first = threading.Thread(target=answered, daemon=True)
        first.start()
        peers.wait_for("a refusal", lambda: daemon.counters()["RefusedLimit"] > refused, 20)
        talker.wait_rounds(3)
        talker.end()
        client.stop()
        peers.wait_for("a place", answered, 40)
        other.stop()


def test_histograms_go_on(build: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    names = ("kcptund_rtt_seconds_count", "kcptund_rtt_seconds_sum")
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = {"metrics": metrics}
        with service(build, tmp_path, "both", sections) as daemon:
            talker = Talker(port)
            talker.wait_rounds(20)
            talker.end()
            before = [scrape(metrics).sum(name, {"profile": "c"}) for name in names]
            assert before[0] >= 5
            for _ in range(2):
                daemon.upgrade()
                after = [scrape(metrics).sum(name, {"profile": "c"}) for name in names]
                assert after >= before, (before, after)


@contextmanager
def talking(build: Path, directory: Path) -> Iterator[tuple[Service, Path, Talker]]:
    """A daemon that runs from a path of its own, with a stream that goes on all the time."""
    place = directory / "build"
    (place / "daemon").mkdir(parents=True)
    (place / "tools").symlink_to(build / "tools")
    program = place / "daemon/kcptund"
    program.symlink_to(build / "daemon/kcptund")
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = {"watch": False, "workers": 2}
        with service(place, directory, "both", sections) as daemon:
            talker = Talker(port)
            talker.wait_rounds(3)
            yield daemon, program, talker
            talker.wait_rounds(3)
            talker.end()
            daemon.wait_finished(20)


FAILURES = {
    "configuration": ("keys = 1", "no such key|unknown key|keys"),
    "exits": ("#!/bin/sh\nexit 3\n", "status 3"),
    "missing": (None, "No such file"),
    "hangs": ("#!/bin/sh\nexec sleep 60\n", "not ready in time"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_failure(build: Path, tmp_path: Path, how: str) -> None:
    """The new process does not come to life: all goes on, and everybody learns why."""
    what, said = FAILURES[how]
    with talking(build, tmp_path) as (daemon, program, talker):
        good = daemon.conf_path.read_text()
        if how == "configuration":
            daemon.conf_path.write_text(good + what + "\n")
        else:
            program.unlink()
            if what:
                program.write_text(what)
                program.chmod(0o755)
        done = daemon.ctl("upgrade", timeout=40)
        assert done.returncode == 1 and re.search(said, done.stderr), done
        status = daemon.request("status")
        assert status["pid"] == daemon.pid and not status["finishing"]
        assert re.search(said, status["upgrade"]["error"])
        assert re.search(f"no upgrade: .*({said})", daemon.log())
        talker.wait_rounds(3)
        with apps.connect(talker.port, 20) as s:
            apps.ask(s)
        daemon.conf_path.write_text(good)
        program.unlink(missing_ok=True)
        program.symlink_to(build / "daemon/kcptund")
        daemon.upgrade()  # and now it works
        assert daemon.request("status")["upgrade"] is None


def test_everything_moves(build: Path, tmp_path: Path) -> None:
    """Unix sockets, both control sockets, metrics and the service manager's idea of the process;
    SIGUSR2; a second request while one runs; and the end of all by one SIGTERM."""
    local, stats, metrics = tmp_path / "local", tmp_path / "stats", tmp_path / "metrics"
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["client u"] = {**sections["client c"], "localaddr": local}
        sections["global"] = {"stats": stats, "metrics": metrics, "draintime": 2}
        manager = Manager(tmp_path / "notify")
        via = ("env", f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=4000000")
        with service(build, tmp_path, "both", sections, via=via) as daemon:
            manager.wait("READY=1")
            talker = Talker(port)
            talker.wait_rounds(2)
            for _ in range(2):
                os.kill(daemon.pids[-1], signal.SIGUSR2)
                old = daemon.pids[-1]
                pid = peers.wait_for(
                    "the new process", lambda: (p := daemon.now()) != old and p, 20, 0.05
                )
                daemon.pids.append(pid)
                manager.wait(f"MAINPID={pid}")
                if "READY=1" not in manager.said[manager.said.index(f"MAINPID={pid}") :]:
                    manager.wait("READY=1")
                manager.wait("WATCHDOG=1")
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(20)
                    s.connect(str(local))
                    apps.ask(s)
                assert scrape(metrics).sum("kcptund_streams_opened_total", {"profile": "c"})
                done = daemon.ctl("-s", str(stats), "status", "--json")
                assert json.loads(done.stdout)["pid"] == pid
            talker.wait_rounds(2)
            talker.end()
            daemon.end()
        assert not local.exists() and not stats.exists() and not metrics.exists()


def apart(
    build: Path, directory: Path, target: str, **more: Any
) -> tuple[dict[str, Any], peers.Daemon, int, int]:
    """A server's configuration, a client of it in a daemon of its own, and their ports."""
    port, server_port = peers.free_port(), peers.free_port()
    client = peers.Daemon(
        build, directory, "client", {"client c": client_section(port, server_port, **more)}
    )
    conf = {"global": {"workers": 2}, "server s": server_section(server_port, target, **more)}
    return conf, client, port, server_port


def rewrite(daemon: Service, **keys: Any) -> None:
    """Other keys in its server profile."""
    daemon.sections["server s"].update(keys)
    daemon.conf_path.write_text(peers.ini(daemon.sections))


def test_another_configuration(build: Path, tmp_path: Path) -> None:
    """The old process's sessions go on under a key that the new one does not know, and while it
    listens elsewhere or has no such profile any more; then the old port is closed."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        conf, client, port, server_port = apart(build, tmp_path, target.address)
        stack.callback(client.discard)
        conf["global"]["watch"] = False
        daemon = stack.enter_context(service(build, tmp_path, "server", conf))
        talker = Talker(port)
        talker.wait_rounds(3)
        rewrite(daemon, key="another key than before")
        daemon.upgrade()
        talker.wait_rounds(20)
        elsewhere = peers.free_port()
        rewrite(daemon, listen=f"127.0.0.1:{elsewhere}")
        assert daemon.ctl("reload").returncode == 0
        newest = daemon.pids[-1]
        peers.wait_for("the other port", lambda: peers.bound(newest, "udp", elsewhere), 10)
        talker.wait_rounds(20)
        time.sleep(2.5)  # so often it looks for listeners that nobody uses
        talker.wait_rounds(20)
        daemon.sections.pop("server s")
        daemon.sections["server other"] = server_section(peers.free_port(), target.address)
        daemon.conf_path.write_text(peers.ini(daemon.sections))
        assert daemon.ctl("reload").returncode == 0
        talker.wait_rounds(20)
        talker.end()
        client.stop()
        daemon.wait_finished(30)
        peers.wait_for("its end", lambda: not peers.bound(newest, "udp", server_port), 10)


def test_moves_meanwhile(build: Path, tmp_path: Path) -> None:
    """The address of an old session changes after the upgrade, again and again."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        port, server_port = peers.free_port(), peers.free_port()
        conf = {"global": {"workers": 2}, "server s": server_section(server_port, target.address)}
        daemon = stack.enter_context(service(build, tmp_path, "server", conf))
        mangler = peers.Mangler(build, tmp_path, f"127.0.0.1:{server_port}", {})
        stack.callback(mangler.kill)
        client = peers.Daemon(
            build, tmp_path, "client", {"client c": client_section(port, mangler.port)}
        )
        stack.callback(client.discard)
        talker = Talker(port)
        talker.wait_rounds(3)
        daemon.upgrade()
        for n in range(1, 4):
            mangler.signal(signal.SIGUSR1)
            talker.wait_rounds(10)
            peers.wait_for(
                "the session to move", lambda n=n: daemon.counters()["Rebindings"] >= n, 10
            )
        assert daemon.finishing()[0]["streams"] == 1
        talker.end()
        client.stop()
