"""tests/interop/test_compat.py - kcptund under kcptun's names: its command line, files, log,
signals and statistics, with the packaged kcptun at the other end."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apps
import peers
import pytest

REFUSED = 255
USAGE = 64
CRYPT_HEADER = 20  # nonce and checksum: their count of received bytes leaves them out
STAMP = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "


class Named(peers.Process):
    """Our program under one of kcptun's names."""

    def __init__(
        self,
        build: Path,
        directory: Path,
        name: str,
        *args: Any,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        super().__init__(
            name,
            [
                *(["env", "-C", str(cwd)] if cwd else []),
                str(link(build, directory, name)),
                *map(str, args),
            ],
            directory / f"{name}.log",
            env,
        )

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        status = self.wait(peers.STOP_S)
        self.check_log()
        assert status == 0, self.tail()


def link(build: Path, directory: Path, name: str) -> Path:
    path = directory / "bin" / name
    path.parent.mkdir(exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(build / "daemon/kcptund")
    return path


def run(
    build: Path, directory: Path, name: str, *args: str, timeout: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """For starts that end by themselves."""
    return subprocess.run(
        [str(link(build, directory, name)), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as s:
        yield s


def start(stack: ExitStack, end: Any, proto: str, *ports: int) -> Any:
    """Stops it when the test is over; not if it fails before, as the process may hang then."""
    stack.callback(end.kill)
    end.wait_ready(proto, list(ports))
    return end


def their_end(directory: Path, role: str, *args: Any) -> peers.TheirProcess:
    argv = [f"/usr/bin/kcptun-{role}", *map(str, args)]
    return peers.TheirProcess(f"their {role}", argv, directory / f"their-{role}.log")


def write_json(path: Path, **keys: Any) -> Path:
    path.touch(0o600)
    path.write_text(json.dumps(keys, indent=8))
    return path


def test_examples_of_the_manual(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """But for addresses and ports: a server, and a client by its command line or by a file."""
    page = (Path(__file__).resolve().parents[2] / "packaging/man/kcptun-client.1").read_text()
    (block,) = re.findall(r"^\.SH EXAMPLES\n\.nf\n(.*?)^\.fi", page, re.M | re.S)
    udp, tcp = peers.free_port(), [peers.free_port(), peers.free_port()]
    conf = write_json(
        tmp_path / "client.json",
        localaddr=f"127.0.0.1:{tcp[1]}",
        remoteaddr=f"127.0.0.1:{udp}",
        key="sesame",
        crypt="aes-128",
    )
    with apps.Service(apps.duplex) as target:
        for here, there in (
            ("\\-", "-"),
            ("vps.example.org:29900", f"127.0.0.1:{udp}"),
            (":29900", f":{udp}"),
            ("127.0.0.1:22 ", f"{target.address} "),
            (":2222 ", f":{tcp[0]} "),
            ("/etc/kcptun-client.json", str(conf)),
        ):
            assert here in block
            block = block.replace(here, there)
        for n, line in enumerate(block.splitlines()):
            words = line.split()
            env = dict(w.split("=") for w in words if re.match(r"[A-Z_]+=", w))
            name, *args = words[len(env) :]
            place = tmp_path / str(n)
            place.mkdir()
            end = Named(build, place, name, *args, env=env or None)
            start(stack, end, *(("tcp", tcp[n - 1]) if n else ("udp", udp)))
        for port in tcp:
            apps.exchange(port, 200_000, 200_000, 1)


# --- the command line, with the packaged peer


def test_our_server(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """Every way to write an option; the peer's smux version, 1 by default, is followed."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        argv = (
            "-l",
            f":{udp}",
            "--t",
            target.address,
            "-key=sesame",
            "--mode=fast3",
            "-nocomp=false",
        )
        server = start(stack, Named(build, tmp_path, "kcptun-server", *argv), "udp", udp)
        argv = (
            "-l",
            f"127.0.0.1:{tcp}",
            "-r",
            f"127.0.0.1:{udp}",
            "-key",
            "sesame",
            "-mode",
            "fast3",
        )
        start(stack, their_end(tmp_path, "client", *argv), "tcp", tcp)
        apps.exchange(tcp, 300_000, 300_000, 1)
        peers.wait_for("the stream's end", lambda: "stream closed in: " in server.log(), 10)
        server.stop()
    log = server.log()
    for line in (
        r"version: \S+",
        r"encryption: aes",
        r"nodelay parameters: 1 10 2 1",
        r"sndwnd: 1024 rcvwnd: 1024",
        r"compression: true",
        r"datashard: 10 parityshard: 3",
        r"tcp: false",
        rf"Listening on: :{udp}/udp",
        r"remote address: 127\.0\.0\.1:\d+",
        r"stream opened in: 127\.0\.0\.1:\d+\(\d+\) out: " + re.escape(target.address),
        r"stream closed in: 127\.0\.0\.1:\d+\(\d+\) out: " + re.escape(target.address),
    ):
        assert re.search(rf"^{STAMP}{line}$", log, re.M), f"{line}\n{log}"


def test_our_client(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """Aliases, hexadecimal, hidden options; the key from the environment."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        argv = ("-l", f":{udp}", "-t", target.address, "-key", "sesame", "-ds", 5, "-ps", 2)
        start(stack, their_end(tmp_path, "server", *argv), "udp", udp)
        argv = (
            "-localaddr",
            f"127.0.0.1:{tcp}",
            "-r",
            f"127.0.0.1:{udp}",
            "--ds",
            5,
            "--ps=2",
            "-smuxver",
            "0x1",
        )
        argv += (
            "-mode",
            "manual",
            "-nodelay",
            1,
            "-interval",
            20,
            "-resend",
            2,
            "-nc",
            1,
            "-acknodelay",
        )
        env = {"KCPTUN_KEY": "sesame"}
        client = start(stack, Named(build, tmp_path, "kcptun-client", *argv, env=env), "tcp", tcp)
        apps.exchange(tcp, 300_000, 300_000, 2)
        client.stop()
    assert re.search(r"nodelay parameters: 1 20 2 1$", client.log(), re.M)
    assert re.search(
        r"stream opened in: 127\.0\.0\.1:\d+ out: 127\.0\.0\.1:%d\(\d+\)$" % udp, client.log(), re.M
    )


@pytest.mark.parametrize("there", ("1", "2"))
def test_smuxver_not_given(
    build: Path, tmp_path: Path, stack: ExitStack, theirs: None, there: str
) -> None:
    """The packaged server has 1 then, later ones 2: it is found out before anything of a connection
    leaves, so that those made meanwhile are served like all others."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        argv = ("-l", f":{udp}", "-t", target.address, "-smuxver", there)
        start(stack, their_end(tmp_path, "server", *argv), "udp", udp)
        argv = ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}", "-conn", "2")
        client = start(stack, Named(build, tmp_path, "kcptun-client", *argv), "tcp", tcp)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(apps.exchange, tcp, 100_000, 100_000, n) for n in range(4)]:
                done.result()
        told = re.findall(rf"^{STAMP}smux version: (\d) on connection: ", client.log(), re.M)
        apps.exchange(tcp, 300_000, 300_000, 4)
        client.stop()
    assert told[-1] == there and "2" in told


def test_smuxver_of_a_server_that_is_exchanged(
    build: Path, tmp_path: Path, stack: ExitStack, theirs: None
) -> None:
    """One of 2021 takes the place of a later one: what was open ends, what comes then is served."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        argv = ("-l", f":{udp}", "-t", target.address, "-smuxver")
        server = start(stack, their_end(tmp_path, "server", *argv, "2"), "udp", udp)
        args = ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}")
        client = start(stack, Named(build, tmp_path, "kcptun-client", *args), "tcp", tcp)
        with apps.connect(tcp, 30) as s:
            apps.ask(s)
            server.kill()
            start(stack, their_end(tmp_path, "server", *argv, "1"), "udp", udp)
            with pytest.raises(OSError):
                while s.send(b"?") and s.recv(1):
                    pass
                raise ConnectionResetError

        for _ in range(2):
            with apps.connect(tcp, 60) as s:
                apps.ask(s)
        client.stop()


def test_addresses_without_a_host(
    build: Path, tmp_path: Path, stack: ExitStack, theirs: None
) -> None:
    """To connect to :PORT is to connect to this machine, whose services may know IPv4 alone."""
    with apps.Service(apps.echo) as target:
        port = target.address.rpartition(":")[2]
        for kinds in ("ours", "theirs"), ("theirs", "ours"), ("ours", "ours"):
            udp, tcp = peers.free_port(), peers.free_port()
            args = {
                "server": ("-l", f":{udp}", "-t", f":{port}", "-smuxver", "1"),
                "client": ("-l", f"127.0.0.1:{tcp}", "-r", f":{udp}", "-smuxver", "1"),
            }
            place = tmp_path / "-".join(kinds)
            place.mkdir()
            for kind, role, bound in zip(kinds, args, (("udp", udp), ("tcp", tcp))):
                ours = kind == "ours"
                end = Named(build, place, f"kcptun-{role}", *args[role]) if ours else None
                start(stack, end or their_end(place, role, *args[role]), *bound)
            with apps.connect(tcp, 30) as s:
                apps.ask(s)


def test_json_counts_more(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """The file over the command line over the environment; keys in any case; quiet is quiet."""
    udp, tcp = peers.free_port(), peers.free_port()
    file = write_json(
        tmp_path / "client.json", KEY="sesame", SmuxVer=1, quiet=True, nosuch=[1], mtu=None
    )
    with apps.Service(apps.duplex) as target:
        argv = ("-l", f":{udp}", "-t", target.address, "-key", "sesame")
        start(stack, their_end(tmp_path, "server", *argv), "udp", udp)
        argv = (
            "-l",
            f"127.0.0.1:{tcp}",
            "-r",
            f"127.0.0.1:{udp}",
            "-key",
            "wrong",
            "-smuxver",
            2,
            "-c",
            file,
        )
        env = {"KCPTUN_KEY": "wrong, too"}
        client = start(stack, Named(build, tmp_path, "kcptun-client", *argv, env=env), "tcp", tcp)
        apps.exchange(tcp, 100_000, 100_000, 3)
        client.stop()
    assert "nosuch: unknown key" in client.log()
    assert "stream opened" not in client.log()
    assert "mtu: 1350" in client.log()


# --- help, mistakes


def test_help_and_version(build: Path, tmp_path: Path) -> None:
    for words in (["-h"], ["--help"], ["help"], ["h"]):
        done = run(build, tmp_path, "kcptun-server", *words)
        assert done.returncode == 0 and "--target value, -t value" in done.stdout
    for words in (["-v"], ["--version"]):
        done = run(build, tmp_path, "kcptun-client", *words)
        assert done.returncode == 0
        assert re.fullmatch(r"kcptun version \d\S*\n", done.stdout)


def test_their_options_are_ours(build: Path, tmp_path: Path, theirs: None) -> None:
    """Each option of the packaged programs' help is in ours, with its short form."""
    for role in ("client", "server"):
        help_text = subprocess.run(
            [f"/usr/bin/kcptun-{role}", "-h"], capture_output=True, text=True, check=False
        ).stdout
        ours = run(build, tmp_path, f"kcptun-{role}", "-h").stdout
        options = re.findall(r"^ +(--\w+)(?: value)?(?:, (--?\w+))?", help_text, re.M)
        assert len(options) >= 25
        for name, alias in options:
            line = re.search(rf"^ +{name}\b.*$", ours, re.M)
            assert line and alias in line.group(), f"{role}: {name} {alias}"


@pytest.mark.parametrize(
    "args, status, says",
    [
        (["-bogus"], USAGE, "Incorrect Usage. flag provided but not defined: -bogus\n\nNAME:"),
        (
            ["-l", ":1", "-localaddr", ":2"],
            USAGE,
            "Cannot use two forms of the same flag: l localaddr",
        ),
        (["-c", "/nonexistent.json"], REFUSED, "/nonexistent.json: No such file"),
        (["-conn", "0"], REFUSED, "conn: '0'"),
        (["-ds", "200", "-ps", "100"], REFUSED, "together up to 256"),
        (["-keepalive", "30"], REFUSED, "keepalive: '30'"),
        (["-crypt", "aes-256"], REFUSED, "crypt: 'aes-256'"),
        (["-smuxver", "3"], REFUSED, "smuxver: '3'"),
        (["-log", "/nonexistent/x.log"], REFUSED, "/nonexistent/x.log"),
    ],
)
def test_refused(build: Path, tmp_path: Path, args: list[str], status: int, says: str) -> None:
    done = run(build, tmp_path, "kcptun-client", *args)
    assert done.returncode == status and says in done.stdout + done.stderr


def test_tcp_without_the_capability(build: Path, tmp_path: Path) -> None:
    """It says what is missing, and not that it listens."""
    argv = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    path = link(build, tmp_path, "kcptun-server")
    argv += [str(path), "-l", f"127.0.0.1:{peers.free_port()}", "-tcp"]
    server = peers.Process("server", argv, tmp_path / "server.log")
    peers.wait_for("its start", lambda: "/udp" in server.log(), 20)
    server.signal(signal.SIGTERM)
    assert server.wait(peers.STOP_S) == 0
    assert "tcp = true needs the capability CAP_NET_RAW" in server.log()
    assert "/tcp" not in server.log()


def test_taken_port(build: Path, tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = run(build, tmp_path, "kcptun-client", "-l", "127.0.0.1:%d" % s.getsockname()[1])
    assert done.returncode == REFUSED and "in use" in done.stderr


@pytest.mark.parametrize(
    "args",
    (
        ["-bogus"],
        ["--bogus=1"],
        ["---l"],
        ["-=3"],
        ["-mtu"],
        ["-mtu", "x"],
        ["-ds", "08"],
        ["-mtu=1_"],
        ["-mtu", "99999999999999999999"],
        ["-quiet=maybe"],
        ["-l", ":1", "-localaddr", ":2"],
    ),
    ids=" ".join,
)
def test_mistakes_in_their_words(
    build: Path, tmp_path: Path, theirs: None, args: list[str]
) -> None:
    """All but the status is what the packaged program says, in front of its help."""
    said = subprocess.run(
        ["/usr/bin/kcptun-client", *args], capture_output=True, text=True, timeout=20, check=False
    )
    ours = run(build, tmp_path, "kcptun-client", *args)
    assert (said.returncode, ours.returncode) == (0, USAGE)
    assert said.stdout.split("NAME:")[0] == ours.stdout.split("NAME:")[0] != ""


# --- files


def three_ports() -> int:
    """The first of three free ones in a row."""
    while True:
        port = peers.free_port()
        try:
            for more in (1, 2):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                    s.bind(("::", port + more))
        except OSError:
            continue
        return port


EXAMPLE = {
    **{"key": "PASSWORD", "crypt": "aes-128", "qpp": True, "qpp-count": 61, "mode": "fast3"},
    **{"mtu": 1400, "ratelimit": 104857600, "sndwnd": 2048, "rcvwnd": 2048, "datashard": 10},
    **{"parityshard": 3, "dscp": 46, "nocomp": True, "acknodelay": False, "nodelay": 1},
    **{"interval": 40, "resend": 2, "nc": 1, "sockbuf": 16777217, "smuxver": 2},
    **{"smuxbuf": 16777217, "streambuf": 2097152, "keepalive": 10, "pprof": False},
    **{"quiet": False, "tcp": False},
}


def test_examples(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """The example files of kcptun's last tree, but for their ports: they start and carry."""
    udp, tcp = three_ports(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        file = write_json(
            tmp_path / "server.json", **EXAMPLE, listen=f":{udp}-{udp + 2}", target=target.address
        )
        ports = (udp, udp + 1, udp + 2)
        server = start(stack, Named(build, tmp_path, "kcptun-server", "-c", file), "udp", *ports)
        mine = {**EXAMPLE, "ratelimit": 1048576, "sndwnd": 128, "rcvwnd": 1024, "autoexpire": 300}
        del mine["pprof"]
        file = write_json(
            tmp_path / "client.json",
            **mine,
            localaddr=f":{tcp}",
            remoteaddr=f"127.0.0.1:{udp}-{udp + 2}",
        )
        client = start(stack, Named(build, tmp_path, "kcptun-client", "-c", file), "tcp", tcp)
        apps.exchange(tcp, 200_000, 200_000, 4)
        client.stop()
        server.stop()
    assert "nodelay parameters: 1 10 2 1" in client.log()  # fast3's, not the file's
    assert "scavengettl: longer than autoexpire" in client.log()


@pytest.mark.parametrize("role", ["server", "client"])
def test_convert(build: Path, tmp_path: Path, role: str) -> None:
    """What kcptunctl prints is a configuration for kcptund, of the same tunnel."""
    own = {"listen": ":4000-4002"} if role == "server" else {"localaddr": ":4000", "conn": 3}
    file = write_json(tmp_path / "my vps.json", **{**EXAMPLE, **own}, snmplog="/tmp/x-2006.csv")
    ctl = str(build / "tools/kcptunctl")
    done = subprocess.run([ctl, "convert", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"[{role} my-vps]" in done.stdout and "key = PASSWORD" in done.stdout
    conf = tmp_path / "k.ini"
    conf.touch(0o600)
    conf.write_text(done.stdout)
    printed = subprocess.run(
        [str(build / "daemon/kcptund"), "-c", str(conf), "-T", "--show-secrets"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    for line in (
        "mtu = 1400",
        "sndwnd = 2048",
        "qppcount = 61",
        "mode = fast3",
        "snmplog = /tmp/x-2006.csv",
    ):
        assert line in printed.stdout.splitlines()


def test_convert_asks(build: Path, tmp_path: Path) -> None:
    """A file of either role has to be told; a wrong one is refused."""
    ctl = str(build / "tools/kcptunctl")
    file = write_json(tmp_path / "x.json", key="sesame")
    done = subprocess.run([ctl, "convert", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "--server or --client" in done.stderr
    done = subprocess.run(
        [ctl, "convert", str(file), "--client"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "[client x]" in done.stdout
    (tmp_path / "no.json").write_text("[client c]\n")
    done = subprocess.run(
        [ctl, "convert", str(tmp_path / "no.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "not JSON" in done.stderr and "--server" not in done.stderr
    file = write_json(tmp_path / "y.json", conn=0)
    done = subprocess.run([ctl, "convert", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "conn" in done.stderr and not done.stdout


# --- statistics and signals


def test_statistics(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """The file has the header that the packaged program writes, the line for SIGUSR1 its counters,
    and the date is in the file's name alone. Both ends count the same bytes."""
    udp, tcp = peers.free_port(), peers.free_port()
    year = time.strftime("%Y")
    logs = tmp_path / "d2006"
    logs.mkdir()
    with apps.Service(apps.echo) as target:
        argv = (
            "-l",
            f":{udp}",
            "-t",
            target.address,
            "-key",
            "k",
            "-snmplog",
            f"{logs}/ours-2006.csv",
        )
        server = start(
            stack, Named(build, tmp_path, "kcptun-server", *argv, "-snmpperiod", 1), "udp", udp
        )
        argv = ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}", "-key", "k")
        argv += ("-snmplog", f"{logs}/theirs-2006.csv", "-snmpperiod", 1)
        client = start(stack, their_end(tmp_path, "client", *argv), "tcp", tcp)
        with apps.connect(tcp) as s:
            apps.ask(s)
        ours, theirs_ = logs / f"ours-{year}.csv", logs / f"theirs-{year}.csv"
        for path in (ours, theirs_):
            peers.wait_for(
                f"rows in {path}", lambda p=path: p.exists() and p.read_text().count("\n") >= 3, 20
            )
        # a keepalive may be on its way while one has said its line and the other has not
        peers.wait_for("agreement", lambda: agree(say(server), say(client)), 20, 0.5)
        assert server.running()
        server.stop()
    rows, their_rows = ours.read_text().splitlines(), theirs_.read_text().splitlines()
    assert rows[0] == their_rows[0]
    assert [len(r.split(",")) for r in rows] == [25] * len(rows)
    assert sum(r.startswith("Unix") for r in rows) == 1
    ours_said, theirs_said = said(server)[-1], said(client)[-1]
    assert list(ours_said) == list(theirs_said)
    assert ours_said["PassiveOpens"] == theirs_said["ActiveOpens"] == "1"
    assert ours_said["MaxConn"] == theirs_said["MaxConn"] == "1"


def said(end: peers.Process) -> list[dict[str, str]]:
    """The counters of each line that SIGUSR1 had it write."""
    lines = re.findall(r"KCP SNMP:&\{(.*)\}", end.log())
    return [dict(pair.split(":") for pair in line.split()) for line in lines]


def say(end: peers.Process) -> dict[str, str]:
    before = len(said(end))
    end.signal(signal.SIGUSR1)
    return peers.wait_for("the line", lambda: said(end)[before:], 10)[0]


def agree(one: dict[str, str], other: dict[str, str]) -> bool:
    """What either has sent, the other has received."""
    for near, far in ((one, other), (other, one)):
        packets = int(near["InPkts"])
        if (
            near["BytesReceived"] != far["BytesSent"]
            or near["InSegs"] != far["OutSegs"]
            or packets != int(far["OutPkts"])
            or int(near["InBytes"]) != int(far["OutBytes"]) - packets * CRYPT_HEADER
        ):
            return False
    return True


@pytest.mark.parametrize("role", ("client", "server"))
def test_early(build: Path, tmp_path: Path, role: str, theirs: None) -> None:
    """With nothing new to send, one later packet that was acknowledged is enough to send again what
    was lost, even if `resend` is 0: a kcptun does that, and so do we."""
    numbers = {"nodelay": 0, "interval": 10, "resend": 0, "nc": 1}
    opt = peers.Options(mode="manual", datashard=0, parityshard=0, more=numbers)
    kinds = ("ours", "theirs") if role == "client" else ("theirs", "ours")
    with apps.Service(apps.echo) as target:
        with peers.tunnel(
            build,
            tmp_path,
            target.address,
            (kinds[0], opt),
            (kinds[1], opt),
            mangle={"both": "loss=15,delay=5"},
        ) as t:
            ours, other = (t.client, t.server) if role == "client" else (t.server, t.client)

            def counted() -> bool:
                for _ in range(20):
                    s.sendall(b"x" * 8000)
                    apps.recv_exactly(s, 8000)
                there = int(say(other)["EarlyRetransSegs"])
                return ours.counters("t")["EarlyRetransSegs"] > 1 and there > 1

            with apps.connect(t.port, 30) as s:
                peers.wait_for("both to have counted some", counted, 60)
            peers.wait_for("the end", lambda: not ours.counters("t")["StreamsNow"], 30)
            here = ours.counters("t")
            again = here["FastRetransSegs"] + here["EarlyRetransSegs"] + here["LostSegs"]
            assert here["RetransSegs"] == again


def test_file_of_theirs_goes_on(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """A file that a late kcptun began keeps its columns."""
    file = tmp_path / "s.csv"
    names = "Unix,BytesSent,BytesReceived,MaxConn,ActiveOpens,PassiveOpens,CurrEstab,InErrs,"
    names += "InCsumErrors,KCPInErrors,InPkts,OutPkts,InSegs,OutSegs,InBytes,OutBytes,"
    names += "RetransSegs,FastRetransSegs,EarlyRetransSegs,LostSegs,"
    names += (
        "RepeatSegs,FECFullShards,FECParityShards,FECErrs,FECRecovered,FECShardSet,FECShardMin,"
    )
    names += "RingBufferSndQueue,RingBufferRcvQueue,RingBufferSndBuffer,OOBPackets"
    file.write_text(names + "\n")
    udp = peers.free_port()
    argv = ("-l", f":{udp}", "-snmplog", "s.csv", "-snmpperiod", 1)
    server = start(stack, Named(build, tmp_path, "kcptun-server", *argv, cwd=tmp_path), "udp", udp)
    peers.wait_for("a row", lambda: file.read_text().count("\n") >= 2, 20)
    server.stop()
    assert len(file.read_text().splitlines()[1].split(",")) == 31


def test_end_is_prompt(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """SIGTERM and SIGINT end it at once, with a stream open."""
    for number in (signal.SIGTERM, signal.SIGINT):
        udp, tcp = peers.free_port(), peers.free_port()
        with apps.Service(apps.echo) as target:
            argv = ("-l", f":{udp}", "-t", target.address)
            server = start(stack, Named(build, tmp_path, "kcptun-server", *argv), "udp", udp)
            argv = ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}")
            client = start(stack, Named(build, tmp_path, "kcptun-client", *argv), "tcp", tcp)
            with apps.connect(tcp) as s:
                apps.ask(s)
                for end in (client, server):
                    end.signal(number)
                    assert end.popen.wait(8) == 0  # kcptund would drain for 10 s
                    end.check_log()


STANDARD = {  # how the descriptors 0 to 2 are found at the start
    "closed": "os.close(0); os.close(1); os.close(2)",
    "unread": "r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.dup2(w, 2)",
}


@pytest.mark.parametrize("how", STANDARD)
def test_nobody_reads_the_log(build: Path, tmp_path: Path, stack: ExitStack, how: str) -> None:
    """Started without descriptors for its log, or with one whose other end has gone, it serves; and
    the log goes into nothing that has been opened since."""
    code = "import os, signal, sys; signal.signal(signal.SIGPIPE, signal.SIG_DFL); " + STANDARD[how]
    code += "; os.execv(sys.argv[1], sys.argv[1:])"
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        for role, proto, port, args in (
            ("server", "udp", udp, ("-l", f":{udp}", "-t", target.address)),
            ("client", "tcp", tcp, ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}")),
        ):
            program = str(link(build, tmp_path, f"kcptun-{role}"))
            argv = ["/usr/bin/python3", "-c", code, program, *args]
            end = start(stack, peers.Process(role, argv, tmp_path / f"{role}.log"), proto, port)
            stack.callback(end.wait, peers.STOP_S)
            stack.callback(end.signal, signal.SIGTERM)
        apps.exchange(tcp, 200_000, 200_000, 1)


def test_hangup_reads_again(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """SIGHUP opens the log again, and takes over what the file says now."""
    udp, log = peers.free_port(), tmp_path / "server-2006.txt"
    keys = {"listen": f"127.0.0.1:{udp}", "key": "k", "log": str(log), "target": "127.0.0.1:1"}
    file = write_json(tmp_path / "s.json", **keys)
    server = start(stack, Named(build, tmp_path, "kcptun-server", "-c", file), "udp", udp)
    peers.wait_for("the log", lambda: log.exists() and "is ready" in log.read_text(), 10)
    log.rename(tmp_path / "old.txt")
    write_json(file, **{**keys, "target": "127.0.0.1:2"})
    server.signal(signal.SIGHUP)
    peers.wait_for("a new log", lambda: log.exists() and "1 changed" in log.read_text(), 10)
    write_json(file, **{**keys, "conn": 0, "mtu": "x"})
    server.signal(signal.SIGHUP)
    peers.wait_for(
        "a refusal", lambda: "mtu: text; accepted: a whole number" in log.read_text(), 10
    )
    assert server.running()
    server.stop()


# --- the pool


def opened(server: Any) -> int:
    return server.log().count("remote address: ")


def test_pool(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """Connections go around the sessions, which come up one by one."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        server = start(
            stack, their_end(tmp_path, "server", "-l", f":{udp}", "-t", target.address), "udp", udp
        )
        argv = ("-l", f"localhost:{tcp}", "-r", f"127.0.0.1:{udp}", "-conn", 3, "-smuxver", 1)
        client = start(stack, Named(build, tmp_path, "kcptun-client", *argv), "tcp", tcp)
        for n, sessions in enumerate((1, 2, 3, 3, 3, 3), 1):
            with apps.connect(tcp) as s:
                apps.ask(s)
            assert opened(server) == sessions, f"connection {n}"
        client.stop()
    ends = re.findall(r"stream opened in: ([\d.:]+)\(", server.log())
    assert ends[:3] == ends[3:6] and len(set(ends)) == 3


def test_expiry(build: Path, tmp_path: Path, stack: ExitStack, theirs: None) -> None:
    """After autoexpire a connection gets a new session; after scavengettl more the old one is
    closed, whatever runs on it."""
    udp, tcp = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        server = start(
            stack, their_end(tmp_path, "server", "-l", f":{udp}", "-t", target.address), "udp", udp
        )
        argv = ("-l", f"127.0.0.1:{tcp}", "-r", f"127.0.0.1:{udp}", "-smuxver", 1)
        argv += ("-autoexpire", 2, "-scavengettl", 2)
        client = start(stack, Named(build, tmp_path, "kcptun-client", *argv), "tcp", tcp)
        began = time.monotonic()
        with apps.connect(tcp, 20) as first:
            apps.ask(first)
            dialled = time.monotonic()
            with apps.connect(tcp) as s:
                apps.ask(s)
            assert opened(server) == 1 or time.monotonic() - began > 1.9
            time.sleep(max(0.0, 2.2 - (time.monotonic() - dialled)))
            with apps.connect(tcp) as s:
                apps.ask(s)
            assert opened(server) >= 2
            with pytest.raises(OSError):
                if not first.recv(1):
                    raise ConnectionResetError
            assert time.monotonic() - began > 3.9
        client.stop()
    told = r"scavenger: session closed due to ttl: 127\.0\.0\.1:\d+$"
    assert re.search(told, client.log(), re.M), client.log()


def test_dial_that_fails(build: Path, tmp_path: Path, stack: ExitStack) -> None:
    """A name that nothing has is told as kcptun tells it, and asked for again."""
    tcp = peers.free_port()
    argv = ("-l", f"127.0.0.1:{tcp}", "-r", "nothing.invalid:29900")
    client = start(stack, Named(build, tmp_path, "kcptun-client", *argv), "tcp", tcp)
    with apps.connect(tcp):
        peers.wait_for("a failed dial", lambda: "re-connecting: " in client.log(), 20)
    lines = client.log()
    assert lines.index("initiating key derivation") < lines.index("key derivation done")
    client.stop()


# --- the documents


@pytest.mark.parametrize("role", ["server", "client"])
def test_documents(build: Path, tmp_path: Path, role: str) -> None:
    """The man page and the table of options leave nothing out that the help lists."""
    top = Path(__file__).parents[2]
    page = (top / "packaging/man/kcptun-client.1").read_text().replace("\\-", "-")
    table = (top / "docs/kcptun-compat.md").read_text()
    text = run(build, tmp_path, f"kcptun-{role}", "-h").stdout
    options = re.findall(r"^ +--([\w]+)\b", text, re.M)
    assert len(options) > 25
    for name in options:
        assert re.search(rf"(?<!\w)--?{name}\b", page), name
        assert f"`{name}`" in table, name
