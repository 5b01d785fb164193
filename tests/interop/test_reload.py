"""tests/interop/test_reload.py - configuration that changes under a running daemon: what did not
change does not notice, what changed does."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apps
import pace
import peers
import pytest

Sections = dict[str, dict[str, Any]]
IN_FORCE = "configuration in force"
REFUSED = "nothing is changed"


def server(port: int, target: str, **more: Any) -> dict[str, Any]:
    return {"listen": f"127.0.0.1:{port}", "target": target, "key": peers.KEY, **more}


def client(port: int, server_port: int, **more: Any) -> dict[str, Any]:
    return {
        "localaddr": f"127.0.0.1:{port}",
        "remoteaddr": f"127.0.0.1:{server_port}",
        "key": peers.KEY,
        **more,
    }


class Site:
    """A daemon with both ends of tunnels, and its configuration."""

    def __init__(
        self, build: Path, directory: Path, sections: Sections, watch: bool = False
    ) -> None:
        self.more = {"workers": 2, "watch": watch, "draintime": peers.DRAIN_S}
        self.daemon = peers.Daemon(build, directory, "both", self.whole(sections))

    def whole(self, sections: Sections) -> Sections:
        return {**sections, "global": {**self.more, **sections.get("global", {})}}

    def text(self, sections: Sections) -> str:
        whole = self.whole(sections)
        whole["global"] = {"control": self.daemon.control, **whole["global"]}
        return peers.ini(whole)

    def said(self, what: str) -> int:
        return self.daemon.log().count(what)

    def reload(self, sections: Sections, outcome: str = IN_FORCE) -> str:
        """The line of the log that tells the outcome."""
        self.daemon.conf_path.write_text(self.text(sections))
        before = self.said(outcome)
        self.daemon.signal(signal.SIGHUP)
        peers.wait_for(outcome, lambda: self.said(outcome) > before, 20)
        return [line for line in self.daemon.log().splitlines() if outcome in line][-1]


@contextmanager
def site(build: Path, directory: Path, sections: Sections, watch: bool = False) -> Iterator[Site]:
    s = Site(build, directory, sections, watch)
    try:
        yield s
    except BaseException:
        print(s.daemon.tail(80))
        s.daemon.kill()
        raise
    s.daemon.stop()


@pytest.fixture
def target() -> Iterator[str]:
    with apps.Service(apps.echo) as service:
        yield service.address


def rss(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_sanitized(pid: int) -> bool:
    return bool(re.search(r"lib[at]san", Path(f"/proc/{pid}/maps").read_text()))


class Bulk(threading.Thread):
    """Exchanges that go on until stop(), which tells how many there were, or raises what went
    wrong."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.done = 0
        self.error: BaseException | None = None
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._end.is_set():
                apps.exchange(self.port, 1 << 20, 1 << 20, self.done)
                self.done += 1
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e

    def stop(self) -> int:
        self._end.set()
        self.join(apps.TIMEOUT_S)
        if self.error:
            raise self.error
        return self.done


def test_many_reloads_under_load(build: Path, tmp_path: Path, target: str) -> None:
    """Profiles come, change and go 200 times, each with a stream that outlives its profile, while
    others carry bulk: no reset, no byte lost, no memory and no descriptor kept."""
    with apps.Service(apps.duplex) as bulk_target:
        ports = [peers.free_port() for _ in range(8)]
        base = {
            "server sbulk": server(ports[0], bulk_target.address, mode="fast3"),
            "client cbulk": client(ports[1], ports[0], mode="fast3"),
            "server sstill": server(ports[2], target, mode="fast3"),
            "client cstill": client(ports[3], ports[2], mode="fast3"),
        }
        with site(build, tmp_path, base) as s:
            pid = s.daemon.pid
            memory = files = 0  # after some rounds, by when all there is to fill is full
            bulk = Bulk(ports[1])
            held = apps.connect(ports[3])
            for i in range(50):
                pair = i % 2 * 2 + 4
                extra = {
                    f"server s{pair}": server(ports[pair], target),
                    f"client c{pair}": client(ports[pair + 1], ports[pair]),
                }
                s.reload({**base, **extra})
                stream = apps.connect(ports[pair + 1])
                apps.ask(stream)
                for section in extra.values():
                    section["sndwnd"] = 200 + i
                s.reload({**base, **extra})
                apps.ask(stream)
                for section in extra.values():
                    section["datashard"] = 4 + i % 5
                s.reload({**base, **extra})
                apps.ask(stream)
                s.reload(base)
                apps.ask(stream)  # it drains, it is not cut
                apps.ask(held)
                stream.close()
                if i == 19:
                    memory, files = rss(pid), open_files(pid)
            assert bulk.stop() > 0
            assert s.said(IN_FORCE) == 200
            counters = s.daemon.counters("sstill")
            assert counters["PassiveOpens"] == 1, "a session of an unchanged profile was replaced"
            peers.wait_for("descriptors", lambda: open_files(pid) - files < 40, 10)
            if not is_sanitized(pid):  # these keep freed memory
                peers.wait_for("memory", lambda: rss(pid) - memory < 24 << 20, 10)
            held.close()


def timed_echo(s: socket.socket, size: int) -> float:
    start = time.monotonic()
    sender = threading.Thread(target=s.sendall, args=(os.urandom(size),))
    sender.start()
    apps.recv_exactly(s, size)
    sender.join()
    return time.monotonic() - start


def test_rate_of_a_running_session(build: Path, tmp_path: Path, target: str) -> None:
    sp, cp = peers.free_port(), peers.free_port()

    def sections(rate: int) -> Sections:
        return {"server s": server(sp, target), "client c": client(cp, sp, ratelimit=rate)}

    with site(build, tmp_path, sections(0)) as s, apps.connect(cp) as stream:
        timed_echo(stream, 400_000)
        s.reload(sections(200_000))
        limited = timed_echo(stream, 600_000)
        s.reload(sections(0))
        free = min(timed_echo(stream, 600_000) for _ in range(3))
        assert limited > 2.5, "less than 600000 bytes at 200000 a second"
        assert free < limited
        assert s.daemon.counters("s")["PassiveOpens"] == 1


def test_parity_that_is_sent(build: Path, tmp_path: Path, target: str) -> None:
    """The shape stays, the parity does not."""
    sp, cp = peers.free_port(), peers.free_port()

    def sections(send: int) -> Sections:
        shape = {"mode": "fast", "datashard": 2, "parityshard": 2, "paritysend": send}
        return {
            # when steering begins, what another worker hands over arrives later than whole groups
            "global": {"workers": 1},
            "server s": server(sp, target, **shape),
            "client c": client(cp, sp, **shape),
        }

    def parity(s: Site, stream: socket.socket) -> float:
        """Its share of what comes: a busy machine has more sent than once."""
        before = s.daemon.counters("s")
        timed_echo(stream, 300_000)
        after = s.daemon.counters("s")
        came = after["InPkts"] - before["InPkts"]
        assert came > 200
        return (after["FECParityShards"] - before["FECParityShards"]) / came

    with site(build, tmp_path, sections(255)) as s, apps.connect(cp) as stream:
        apps.ask(stream)
        both = parity(s, stream)
        s.reload(sections(1))
        one = parity(s, stream)
        s.reload(sections(0))
        apps.ask(stream)
        none = parity(s, stream)
        assert 0.45 < both < 0.55 and 0.28 < one < 0.38 and none < 0.02, (both, one, none)
        assert s.daemon.counters("s")["PassiveOpens"] == 1


def test_another_shape_makes_before_it_breaks(build: Path, tmp_path: Path, target: str) -> None:
    sp, cp = peers.free_port(), peers.free_port()

    def sections(data: int) -> Sections:
        return {
            "server s": server(sp, target, datashard=data),
            "client c": client(cp, sp, datashard=data),
        }

    with site(build, tmp_path, sections(10)) as s:
        old = apps.connect(cp)
        apps.ask(old)
        s.reload(sections(5))
        peers.wait_for("a successor", lambda: s.daemon.counters("s")["PassiveOpens"] == 2, 10)
        apps.ask(old, bytes(100_000))
        with apps.connect(cp) as new:
            apps.ask(new)
            rows = next(p for p in s.daemon.stats()["profiles"] if p["name"] == "s")["sessions"]
            assert sorted(row["streams"] for row in rows) == [1, 1], "not on a session of its own"
        apps.ask(old)
        old.close()
        peers.wait_for("the old one's end", lambda: s.daemon.counters("c")["CurrEstab"] == 1, 15)


def test_another_key(build: Path, tmp_path: Path, target: str) -> None:
    sp, cp = peers.free_port(), peers.free_port()

    def sections(key: str) -> Sections:
        return {
            "server s": {**server(sp, target), "key": key},
            "client c": {**client(cp, sp), "key": key},
        }

    with site(build, tmp_path, sections("first")) as s:
        streams = []
        for key in ("first", "second", "third", "second"):
            s.reload(sections(key))
            streams.append(apps.connect(cp))
            for stream in streams:
                apps.ask(stream, bytes(20_000))
        for stream in streams:
            stream.close()


def test_moves_renames_and_returns(build: Path, tmp_path: Path, target: str) -> None:
    """Another port for either end; another name; a profile that is back before it has drained."""
    sp, cp, sp2, cp2 = (peers.free_port() for _ in range(4))
    first = {"server s": server(sp, target), "client c": client(cp, sp)}
    with site(build, tmp_path, first) as s:
        old = apps.connect(cp)
        apps.ask(old)
        line = s.reload({"server t": server(sp, target), "client d": client(cp, sp)})
        assert "0 profiles added, 2 changed, 0 removed" in line
        apps.ask(old)
        assert s.daemon.counters("t")["PassiveOpens"] == 1
        line = s.reload({})
        assert "2 removed" in line
        apps.ask(old)
        with pytest.raises(OSError):
            apps.connect(cp).close()
        s.reload({"server t": server(sp, target), "client d": client(cp, sp)})
        apps.ask(old, bytes(200_000))
        with apps.connect(cp) as new:
            apps.ask(new)
        s.reload({"server t": server(sp2, target), "client d": client(cp2, sp2)})
        apps.ask(old, bytes(200_000))
        with apps.connect(cp2) as new:
            apps.ask(new)
        with pytest.raises(OSError):
            apps.connect(cp).close()
        old.close()
        peers.wait_for("the old port's end", lambda: not peers.bound(s.daemon.pid, "udp", sp), 20)


def test_ports_that_change_hands(build: Path, tmp_path: Path, target: str) -> None:
    """One reload is enough: who is to have a port that another profile's sessions still use waits
    for their end, and says so; two that want each other's are told."""
    sp, cp, sp2, cp2 = (peers.free_port() for _ in range(4))
    first = {"server s": server(sp, target), "client c": client(cp, sp)}
    with apps.Service(apps.echo) as other, site(build, tmp_path, first) as s:
        old = apps.connect(cp)
        apps.ask(old)
        clients = {"client c": client(cp2, sp2), "client d": client(cp, sp)}
        ends = {"server s": server(sp2, target), "server t": server(sp, other.address)}
        s.reload({**ends, **clients})
        assert s.said(f"t: it waits: on 127.0.0.1:{sp} there are sessions of s")
        peers.wait_for("client d", lambda: takes(s, "d"), 20)
        apps.ask(old, bytes(200_000))
        assert not takes(s, "t")
        (warning,) = s.daemon.request("status")["conf"]["warnings"]
        assert warning.startswith("t: it waits")
        assert warning in s.daemon.ctl("upgrade").stderr
        old.close()
        peers.wait_for("server t", lambda: takes(s, "t"), 60)
        assert not s.daemon.request("status")["conf"]["warnings"]
        with apps.connect(cp) as new:
            apps.ask(new)
        assert other.accepted == 1
        swapped = {"server s": server(sp, target), "server t": server(sp2, other.address)}
        assert "what the other listens on" in s.reload({**swapped, **clients}, REFUSED)


def takes(s: Site, profile: str) -> bool:
    """Whether the daemon has it."""
    return any(p["name"] == profile for p in s.daemon.request("status")["profiles"])


def test_pool_grows_and_shrinks(build: Path, tmp_path: Path, target: str) -> None:
    sp, cp = peers.free_port(), peers.free_port()

    def sections(conn: int) -> Sections:
        return {"server s": server(sp, target), "client c": client(cp, sp, conn=conn)}

    with site(build, tmp_path, sections(1)) as s:
        held = []
        for conn in (1, 5, 2):
            s.reload(sections(conn))
            held += [apps.connect(cp) for _ in range(10)]
            for stream in held:
                apps.ask(stream)
        for stream in held:
            stream.close()
        peers.wait_for("two sessions", lambda: s.daemon.counters("c")["CurrEstab"] <= 2, 15)


def test_a_drained_profile_stays_so(build: Path, tmp_path: Path, target: str) -> None:
    """A change of what was told to take nothing new does not make it listen again."""
    sp, cp = peers.free_port(), peers.free_port()

    def sections(window: int) -> Sections:
        return {"server s": server(sp, target), "client c": client(cp, sp, sndwnd=window)}

    with site(build, tmp_path, sections(300)) as s, apps.connect(cp) as stream:
        apps.ask(stream)
        assert s.daemon.ctl("drain", "c").returncode == 0
        peers.wait_for("no listener", lambda: not peers.bound(s.daemon.pid, "tcp", cp), 10)
        s.reload(sections(301))
        apps.ask(stream)
        assert not peers.bound(s.daemon.pid, "tcp", cp)
        assert s.daemon.ctl("undrain", "c").returncode == 0
        peers.wait_for("a listener", lambda: peers.bound(s.daemon.pid, "tcp", cp), 10)
        with apps.connect(cp) as new:
            apps.ask(new)
            apps.ask(stream)


def test_modes_change_live(build: Path, tmp_path: Path) -> None:
    """From and to auto by `set` and by the file, at both ends at once, under one long transfer: its
    session has the new mode at once, and nobody else takes its place."""
    sp, cp = peers.free_port(), peers.free_port()
    more = {"ratelimit": 3000000, "smuxbuf": "4M", "streambuf": "2M", "closewait": 0}

    with apps.Service(apps.duplex) as far:

        def sections(mode: str) -> Sections:
            return {
                "server s": server(sp, far.address, mode=mode, **more),
                "client c": client(cp, sp, mode=mode, **more),
            }

        with site(build, tmp_path, sections("fast3")) as s:
            args = (cp, 9 << 20, 9 << 20, 1)
            job = threading.Thread(target=apps.exchange, args=args, daemon=True)
            job.start()
            peers.wait_for("a session", lambda: s.daemon.request("sessions")["sessions"], 10)
            for i, mode in enumerate(("auto", "fast2", "auto", "normal", "auto")):
                if i % 2:
                    s.reload(sections(mode))
                else:
                    done = s.daemon.ctl("set", f"mode={mode}")
                    assert done.returncode == 0, done.stderr
                rows = s.daemon.request("sessions")["sessions"]
                assert [("sender" in row) for row in rows] == [mode == "auto"] * 2
                time.sleep(0.3)
            job.join(pace.limit(300))
            assert not job.is_alive()
            assert s.daemon.counters("c")["ActiveOpens"] == 1
            assert s.daemon.counters()["StreamsReset"] == 0
        assert not far.errors, far.errors


def test_undrain_waits_for_its_port(build: Path, tmp_path: Path, target: str) -> None:
    """Somebody else has the port meanwhile: the client says so once and listens when it can; new
    streams wait for nothing else."""
    sp, cp, other = peers.free_port(), peers.free_port(), peers.free_port()
    sections = {
        "server s": server(sp, target),
        "client c": client(cp, sp),
        "client other": client(other, sp),
    }
    with site(build, tmp_path, sections) as s:
        assert s.daemon.ctl("drain", "c").returncode == 0
        peers.wait_for("no listener", lambda: not peers.bound(s.daemon.pid, "tcp", cp), 10)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", cp))
            thief.listen()
            assert s.daemon.ctl("undrain", "c").returncode == 0
            peers.wait_for("its word", lambda: s.said("cannot listen again yet"), 10)
            with apps.connect(other) as stream:
                apps.ask(stream)
            time.sleep(0.5)
            assert s.said("cannot listen again yet") == 1
        peers.wait_for("a listener", lambda: peers.bound(s.daemon.pid, "tcp", cp), 10)
        peers.wait_for("its word", lambda: s.said("c: listens again") == 1, 10)
        with apps.connect(cp) as stream:
            apps.ask(stream)


def test_what_does_not_work_changes_nothing(build: Path, tmp_path: Path, target: str) -> None:
    sp, cp = peers.free_port(), peers.free_port()
    good = {"server s": server(sp, target), "client c": client(cp, sp)}
    with site(build, tmp_path, good) as s, apps.connect(cp) as stream:
        apps.ask(stream)
        line = s.reload({**good, "server s": server(sp, target, mtu=99)}, REFUSED)
        assert re.search(r"both\.ini:\d+: mtu: .*accepted: 128\.\.1500", line)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind(("127.0.0.1", 0))
            other = server(thief.getsockname()[1], target)
            taken, spare = peers.free_port(), peers.free_port()
            more = {"server u": server(spare, target), "client c": client(taken, sp)}
            line = s.reload({"server s": other, **more}, REFUSED)
            assert "in use" in line
        assert not peers.bound(s.daemon.pid, "udp", spare), "it kept a socket of what was refused"
        assert not peers.bound(s.daemon.pid, "tcp", taken)
        apps.ask(stream)
        with apps.connect(cp) as new:
            apps.ask(new)
        assert s.daemon.counters("s")["PassiveOpens"] == 1
        assert "2 as they were" in s.reload(good)


def test_restart_only(build: Path, tmp_path: Path, target: str) -> None:
    sections = {"server s": server(peers.free_port(), target)}
    told = "memory has another value now: it needs a restart"
    with site(build, tmp_path, sections) as s:
        for times in (1, 2):
            s.reload({**sections, "global": {"memory": "64M"}})
            peers.wait_for("its word", lambda n=times: s.said(told) == n, 10)
        s.reload(sections)
        assert s.said(told) == 2


def write_over(path: Path, text: str) -> None:
    """In place and by one call, since it is no shorter than what it replaces."""
    with path.open("r+b", buffering=0) as file:
        data = text.encode().ljust(path.stat().st_size, b"\n")
        assert file.write(data) == len(data)


def test_watch(build: Path, tmp_path: Path, target: str) -> None:
    """Files written in place, replaced by renaming, or new to a pattern; no signal. Then: off. None
    is ever empty: a writer who stops in the middle for longer than files must rest is read so."""
    sp, cp = peers.free_port(), peers.free_port()
    sections = {
        "global": {"include": tmp_path / "more.d" / "*.ini"},
        "server s": server(sp, target),
        "client c": client(cp, sp),
    }
    (tmp_path / "more.d").mkdir()
    with site(build, tmp_path, sections, watch=True) as s:
        path = s.daemon.conf_path

        def expect(outcome: str, times: int) -> None:
            peers.wait_for(outcome, lambda: s.said(outcome) == times, 15)

        time.sleep(0.05)
        sections["server s"]["sndwnd"] = 300
        write_over(path, s.text(sections))
        expect("file: " + IN_FORCE, 1)
        sections["server s"]["sndwnd"] = 301
        new = path.with_suffix(".new")
        new.write_text(s.text(sections))
        new.rename(path)
        expect("file: " + IN_FORCE, 2)
        port = peers.free_port()
        more = tmp_path / "more.d" / "a.ini"
        new.write_text("[server more]\nlisten = nonsense\n")
        new.rename(more)
        expect("file: " + REFUSED, 1)
        write_over(more, f"[server more]\nlisten = 127.0.0.1:{port}\nkey = x\n")
        expect("file: " + IN_FORCE, 3)
        assert peers.bound(s.daemon.pid, "udp", port)
        s.more["watch"] = False
        write_over(path, s.text(sections))
        expect("file: " + IN_FORCE, 4)
        more.unlink()
        time.sleep(2)
        assert peers.bound(s.daemon.pid, "udp", port)
