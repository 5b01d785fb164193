"""tests/interop/test_fleet.py - two servers behind one address, by the ruleset of docs/fleet.md, in
namespaces: a client, the router, two servers."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import apps
import peers
from netns import Net, run

DOC = Path(__file__).resolve().parents[2] / "docs" / "fleet.md"
PORT = 29900


def ruleset() -> str:
    """The table in the text, as it stands there."""
    found = re.search(r"^    table ip fleet \{\n(?:    .*\n)*?    \}\n", DOC.read_text(), re.M)
    assert found, "docs/fleet.md has no ruleset"
    return found.group()


def taking_out() -> str:
    found = re.search(r"^ +nft '(.*)'$", DOC.read_text(), re.M)
    assert found, "docs/fleet.md does not say how a server is taken out"
    return found.group(1)


def start_server(net: Net, build: Path, directory: Path, name: str, target: str) -> peers.Daemon:
    opt = peers.Options(smuxver=2)
    sections = {"server t": {**opt.common(), "listen": f":{PORT}", "target": target}}
    daemon = peers.Daemon(build, directory, name, sections, wait=False, via=net.via(name))
    daemon.wait_until("its log", lambda: "is ready" in daemon.log())
    return daemon


def hello(name: str) -> apps.Service:
    """Says where it is, then echoes."""

    def handler(s: socket.socket) -> None:
        s.sendall(name.encode())
        apps.echo(s)

    return apps.Service(handler)


def test_a_fleet_behind_nftables(build: Path, tmp_path: Path) -> None:
    with Net("client", "router", "s1", "s2") as net:
        net.wire("client", "eth0", "192.0.2.1/24", "router", "in", "192.0.2.10/24")
        targets, servers = {}, {}
        for i in (1, 2):
            net.wire(f"s{i}", "eth0", f"10.77.{i}.2/24", "router", f"out{i}", f"10.77.{i}.1/24")
            net.ip(f"s{i}", f"route add default via 10.77.{i}.1")
            targets[f"s{i}"] = net.within(f"s{i}", lambda n=f"s{i}": hello(n))
            servers[f"s{i}"] = start_server(
                net, build, tmp_path, f"s{i}", targets[f"s{i}"].address
            )
        run(*net.via("router"), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run(*net.via("router"), "nft", "-f", "-", stdin=ruleset())

        port = peers.free_port()
        client = peers.Daemon(
            build,
            tmp_path,
            "client",
            {
                "client t": {
                    **peers.Options(smuxver=2).common(),
                    "localaddr": f"127.0.0.1:{port}",
                    "remoteaddr": f"192.0.2.10:{PORT}",
                    "conn": 16,
                }
            },
            wait=False,
            via=net.via("client"),
        )
        client.wait_until("its log", lambda: "is ready" in client.log())

        def streams(n: int) -> list[tuple[str, socket.socket]]:
            result = []
            for _ in range(n):
                s = net.within("client", lambda: apps.connect(port, 30))
                result.append((apps.recv_exactly(s, 2).decode(), s))
            return result

        # both get some: of 16 sessions none at all has a chance of 2 in 65536
        first = streams(16)
        assert {where for where, _ in first} == {"s1", "s2"}
        on_second = sum(where == "s2" for where, _ in first)
        assert servers["s2"].counters("t")["CurrEstab"] == on_second

        # the second is taken out: what runs there goes on, what is new goes elsewhere
        run(*net.via("router"), "nft", taking_out())
        assert servers["s2"].ctl("drain").returncode == 0
        for _, s in first:
            apps.ask(s)
        for where, s in first:
            if where == "s2":
                s.close()
        peers.wait_for(
            "an empty server",
            lambda: servers["s2"].counters("t")["CurrEstab"] == 0,
            20,
            0.2,
        )
        assert client.counters("t")["DeadPeers"] == 0  # they were told
        servers["s2"].stop()
        for where, s in streams(32):
            assert where == "s1"
            apps.ask(s)
            s.close()
        for where, s in first:
            if where == "s1":
                apps.ask(s)  # nobody else noticed
                s.close()
        client.stop()
        servers["s1"].stop()
        for target in targets.values():
            target.close()
