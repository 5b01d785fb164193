"""tests/interop/test_network.py - addresses that change, ends that vanish, and datagrams nobody
asked for."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from pathlib import Path

import apps
import peers
import pytest
from netns import Net

NOTICED_S = 15.0  # "a dead peer is noticed in seconds"


def pair(
    build: Path,
    directory: Path,
    target: str,
    opt: peers.Options,
    listen: str | None = None,
    remote: str | None = None,
) -> tuple[peers.Daemon, peers.Daemon, int, int]:
    """client, server, local port, server port; the caller stops them."""
    server_port, port = peers.free_port(), peers.free_port()
    server = peers.start_ours(
        "server",
        build,
        directory,
        opt,
        target=target,
        listen=(listen or "127.0.0.1:%d") % server_port,
    )
    client = peers.start_ours(
        "client",
        build,
        directory,
        opt,
        localaddr=f"127.0.0.1:{port}",
        remoteaddr=remote or f"127.0.0.1:{server_port}",
    )
    return client, server, port, server_port


@pytest.mark.parametrize("listen", (":%d", "0.0.0.0:%d"))
@pytest.mark.parametrize("io", ("epoll", "io_uring"))
def test_a_wildcard_listener_answers_from_the_address_used(
    build: Path, tmp_path: Path, listen: str, io: str, io_uring_works: bool
) -> None:
    """The relay's socket is connected to 127.0.0.2, so the kernel drops an answer from
    127.0.0.1."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    opt = peers.Options(smuxver=2, io=io)
    port, server_port = peers.free_port(), peers.free_port()
    with apps.Service(apps.duplex) as target:
        server = peers.start_ours(
            "server", build, tmp_path, opt, listen=listen % server_port, target=target.address
        )
        mangler = peers.Mangler(build, tmp_path, f"127.0.0.2:{server_port}", {})
        client = peers.start_ours(
            "client",
            build,
            tmp_path,
            opt,
            localaddr=f"127.0.0.1:{port}",
            remoteaddr=f"127.0.0.1:{mangler.port}",
        )
        apps.exchange(port, 1 << 20, 1 << 20, 1)
        for process in (client, mangler, server):
            process.stop()


@pytest.mark.parametrize("io", ("epoll", "io_uring"))
def test_a_wildcard_listener_is_reached_at_a_second_address(
    build: Path, tmp_path: Path, io: str, io_uring_works: bool
) -> None:
    """Over IPv4 and IPv6, where the kernel would answer from the address of its link: the client's
    socket is connected to another one and hears nothing else."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    opt = peers.Options(smuxver=2, io=io)
    port, hosts = peers.free_port(), {"four": "10.99.0.1", "six": "[fd99::1]"}
    with Net("c", "s") as net, apps.Service(apps.echo, path=tmp_path / "target.sock") as target:
        net.wire("c", "way", "10.95.0.1/24", "s", "way", "10.95.0.2/24")
        net.ip("c", "addr add fd95::1/64 dev way nodad")
        net.ip("s", "addr add fd95::2/64 dev way nodad")
        net.ip("s", "addr add 10.99.0.1/32 dev lo")
        net.ip("s", "addr add fd99::1/128 dev lo nodad")
        net.ip("c", "route add 10.99.0.1/32 via 10.95.0.2")
        net.ip("c", "-6 route add fd99::1/128 via fd95::2")
        far = {"listen": f":{port}", "target": target.address}
        near = {
            f"client {name}": {
                **opt.common(),
                "localaddr": tmp_path / name,
                "remoteaddr": f"{host}:{port}",
            }
            for name, host in hosts.items()
        }
        daemons = [
            peers.Daemon(build, tmp_path, name, sections, wait=False, via=net.via(where))
            for name, where, sections in (
                ("server", "s", {"global": {"io": io}, "server t": {**opt.common(), **far}}),
                ("client", "c", {"global": {"io": io}, **near}),
            )
        ]
        for daemon in daemons:
            daemon.wait_until("its log", lambda d=daemon: "is ready" in d.log())
        for name in hosts:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(str(tmp_path / name))
                apps.ask(s, bytes(1 << 20))
        for daemon in reversed(daemons):
            daemon.stop()


@pytest.mark.parametrize("workers", (1, 2))
@pytest.mark.parametrize("crypt", ("aes", "aes-128-gcm"))
def test_a_session_follows_its_peer_to_a_new_address(
    build: Path, tmp_path: Path, workers: int, crypt: str
) -> None:
    """In the middle of bulk both ways. A client that waits for the server has nothing new to say
    from its new address before its next probe: a move may take seconds, but loses nothing."""
    opt = peers.Options(smuxver=2, workers=workers, crypt=crypt)
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", opt), ("ours", opt), mangle={}
        ) as t:
            assert t.mangler
            apps.exchange(t.port, 1000, 1000, 1)
            errors: list[Exception] = []
            stop = threading.Event()
            bulk = threading.Thread(target=exchange_until, args=(t.port, stop, errors))
            bulk.start()
            try:
                for moves in (1, 2, 3):
                    time.sleep(0.2)
                    t.mangler.signal(signal.SIGUSR1)
                    peers.wait_for(
                        f"move {moves}",
                        lambda n=moves: t.server.counters("t")["Rebindings"] >= n,
                        NOTICED_S,
                    )
            finally:
                stop.set()
                bulk.join()
            assert not errors, errors
            assert t.server.counters("t")["PassiveOpens"] == 1
        assert t.mangler.report()["rebound"] == 3


def exchange_until(port: int, stop: threading.Event, errors: list[Exception]) -> None:
    """Bulk both ways, again and again."""
    while not stop.is_set() and not errors:
        try:
            apps.exchange(port, 8 << 20, 8 << 20, 2)
        except (OSError, EOFError, AssertionError) as e:
            errors.append(e)


def test_an_idle_stream_survives_a_new_address(build: Path, tmp_path: Path) -> None:
    opt = peers.Options(smuxver=2)
    with apps.Service(apps.echo) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", opt), ("ours", opt), mangle={}
        ) as t:
            assert t.mangler
            with apps.connect(t.port, 20) as s:
                for _ in range(3):
                    apps.ask(s)
                    t.mangler.signal(signal.SIGUSR1)
                    apps.ask(s, b"after the move")


def expect_reset(s: socket.socket, seconds: float) -> None:
    """A stream cut short never looks like a stream that ended."""
    s.settimeout(seconds)
    with pytest.raises(ConnectionResetError):
        if s.recv(1) == b"":
            raise EOFError("a cut stream looks like one that ended")


def test_a_restarted_server_is_found_again(build: Path, tmp_path: Path, scale: float) -> None:
    opt = peers.Options(smuxver=2, more={"keepalive": 1})
    with apps.Service(apps.echo) as target:
        client, server, port, server_port = pair(build, tmp_path, target.address, opt)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            server.discard()
            server = peers.start_ours(
                "server",
                build,
                tmp_path,
                opt,
                name="ours-server-again",
                listen=f"127.0.0.1:{server_port}",
                target=target.address,
            )
            s.sendall(b"to nobody")
            expect_reset(s, NOTICED_S * scale)
        with apps.connect(port, 20) as s:
            apps.ask(s)
        client.stop()
        server.stop()


def test_a_server_that_is_gone_is_noticed(build: Path, tmp_path: Path, scale: float) -> None:
    opt = peers.Options(smuxver=2, more={"keepalive": 1})
    with apps.Service(apps.echo) as target:
        client, server, port, _ = pair(build, tmp_path, target.address, opt)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            server.discard()
            s.sendall(b"to nobody")
            expect_reset(s, NOTICED_S * scale)
        assert client.counters("t")["DeadPeers"] >= 1
        client.stop()


def test_a_client_that_is_gone_is_noticed(build: Path, tmp_path: Path) -> None:
    """The target of an idle stream learns of it too, and by a reset."""
    ends: list[str] = []

    def handler(s: socket.socket) -> None:
        s.sendall(apps.recv_exactly(s, 4))
        try:
            s.recv(1)
            ends.append("end-of-file")
        except ConnectionResetError:
            ends.append("reset")

    opt = peers.Options(smuxver=2, more={"keepalive": 1})
    with apps.Service(handler) as target:
        client, server, port, _ = pair(build, tmp_path, target.address, opt)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            client.discard()
            peers.wait_for("the target's reset", lambda: ends, 2 * NOTICED_S)
        assert ends == ["reset"]
        peers.wait_for(
            "the session to be forgotten",
            lambda: server.counters("t")["CurrEstab"] == 0,
            NOTICED_S,
        )
        server.stop()


def capture(
    server_port: int, client_port: int, packets: list[bytes], stop: threading.Event
) -> None:
    """A tiny relay that keeps a copy of what the client sent."""
    udp = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*udp) as near, socket.socket(*udp) as far:
        near.bind(("127.0.0.1", client_port))
        far.connect(("127.0.0.1", server_port))
        near.settimeout(0.005)
        far.settimeout(0.005)
        client = None
        while not stop.is_set():
            try:
                data, client = near.recvfrom(2048)
                packets.append(data)
                far.send(data)
            except TimeoutError:
                pass
            try:
                while client:
                    near.sendto(far.recv(2048), client)
            except TimeoutError:
                pass


def garbage(rng: random.Random, recorded: list[bytes]) -> bytes:
    """A datagram that is random, cut, bent, or replayed."""
    kind = rng.randrange(4)
    if kind == 0 or not recorded:
        return rng.randbytes(rng.randrange(0, 1500))
    data = bytearray(rng.choice(recorded))
    if kind == 1:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 2:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flood(server_port: int, recorded: list[bytes], count: int, seed: int) -> None:
    """From a few addresses; paced, so that it is not the kernel's queue that is tested."""
    rng = random.Random(seed)
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for s in sockets:
        s.connect(("127.0.0.1", server_port))
    for i in range(count):
        try:
            rng.choice(sockets).send(garbage(rng, recorded))
        except OSError:
            pass
        if i % 64 == 63:
            time.sleep(0.001)
    for s in sockets:
        s.close()


def record_session(
    server_port: int, build: Path, directory: Path, opt: peers.Options
) -> list[bytes]:
    """The datagrams of one short conversation with the server."""
    packets: list[bytes] = []
    stop, middle, port = threading.Event(), peers.free_port(), peers.free_port()
    relay = threading.Thread(target=capture, args=(server_port, middle, packets, stop))
    relay.start()
    try:
        client = peers.start_ours(
            "client",
            build,
            directory,
            opt,
            name="recorded",
            localaddr=f"127.0.0.1:{port}",
            remoteaddr=f"127.0.0.1:{middle}",
        )
        with apps.connect(port, 20) as s:
            apps.ask(s, bytes(20000))
        client.stop()
    finally:
        stop.set()
        relay.join()
    return packets


@pytest.mark.parametrize("crypt", ("aes", "none", "null", "aes-128-gcm"))
def test_garbage_is_counted_and_ignored(build: Path, tmp_path: Path, crypt: str) -> None:
    opt = peers.Options(smuxver=2, crypt=crypt, workers=2)
    with apps.Service(apps.echo) as target:
        client, server, port, server_port = pair(build, tmp_path, target.address, opt)
        recorded = record_session(server_port, build, tmp_path, opt)
        assert len(recorded) > 10
        with apps.connect(port, 30) as s:
            apps.ask(s)
            attack = threading.Thread(target=flood, args=(server_port, recorded, 20000, 11))
            attack.start()
            data = apps.content(6, 1 << 20)
            while attack.is_alive():
                apps.ask(s, data)
            attack.join()
            apps.ask(s, data)
        # the kernel drops some while a worker has no processor, and another one may come later
        least = "InCsumErrors" if crypt != "null" else None
        for seed in range(12, 16):
            if refusals(server, least) > 1000:
                break
            flood(server_port, recorded, 5000, seed)
        peers.wait_for("refusals", lambda: refusals(server, least) > 1000, 10)
        assert client.counters("t")["DeadPeers"] == 0
        client.stop()
        server.stop()


def refusals(server: peers.Daemon, only: str | None) -> int:
    """Datagrams that the server did not take, for whatever reason or for one."""
    count = server.counters("t")
    if only:
        return count[only]
    return sum(
        count[k]
        for k in (
            "InErrs",
            "InCsumErrors",
            "KCPInErrors",
            "RefusedConvs",
            "FECErrs",
            "RefusedLimit",
            "RepeatSegs",
            "ProtoErrors",
        )
    )


def test_a_foreign_answer_is_not_believed(build: Path, tmp_path: Path) -> None:
    """Datagrams to the client's port from another address than the server's."""
    opt = peers.Options(smuxver=2)
    with apps.Service(apps.echo) as target:
        client, server, port, _ = pair(build, tmp_path, target.address, opt)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            ports = udp_ports(client.pid)
            assert ports
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for i in range(500):
                    for p in ports:
                        stranger.sendto(random.Random(i).randbytes(200), ("127.0.0.1", p))
            apps.ask(s, bytes(100000))
        client.stop()
        server.stop()


def udp_ports(pid: int) -> list[int]:
    inodes = peers.socket_inodes(pid)
    ports = []
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            col = line.split()
            if col[9] in inodes:
                ports.append(int(col[1].rsplit(":", 1)[1], 16))
    return ports
