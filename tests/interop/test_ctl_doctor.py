"""tests/interop/test_ctl_doctor.py - kcptunctl doctor beside daemons that have something; how each
check judges is in tests/unit/test_doctor.c, here is whether the facts come through."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import apps
import peers
import pytest

SECURE = "kFz9-3hQx0PbV7mTn2_LwRsYuC4dEaGi8JoXqZtWv1U"  # as genkey makes them


def findings(daemon: peers.Daemon) -> dict[str, list[dict[str, str]]]:
    """By the name of the check, of those that are about the daemon and not about this machine."""
    done = daemon.ctl("--json", "doctor")
    assert done.returncode in (0, 5), done.stderr
    found = json.loads(done.stdout)["findings"]
    assert (done.returncode == 5) == any(f["severity"] != "note" for f in found)
    by_check: dict[str, list[dict[str, str]]] = {}
    for f in found:
        assert f["what"] and f["why"] and f["do"]
        if f["check"] not in ("machine-drops", "io", "files", "clock"):
            by_check.setdefault(f["check"], []).append(f)
    return by_check


def server(port: int, target: str, **more: Any) -> dict[str, Any]:
    common = {"listen": f"127.0.0.1:{port}", "target": target, "sockbuf": 65536}
    return {**common, "key": SECURE, "crypt": "aes-128-gcm", "mode": "fast3", **more}


def client(port: int, server_port: int, **more: Any) -> dict[str, Any]:
    common = {"localaddr": f"127.0.0.1:{port}", "remoteaddr": f"127.0.0.1:{server_port}"}
    return {
        **common,
        "sockbuf": 65536,
        "key": SECURE,
        "crypt": "aes-128-gcm",
        "mode": "fast3",
        **more,
    }


def test_all_is_well(build: Path, tmp_path: Path) -> None:
    port, server_port = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        sections = {
            "server s": server(server_port, target.address),
            "client c": client(port, server_port),
        }
        daemon = peers.Daemon(build, tmp_path, "well", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s, bytes(100000))
            assert findings(daemon) == {}
        daemon.stop()


def test_keys_and_ciphers(build: Path, tmp_path: Path) -> None:
    names = {"key": ("default", "short"), "cipher": ("open",)}
    sections = {
        "server default": server(peers.free_port(), "127.0.0.1:1", key="it's a secrect"),
        "server short": server(peers.free_port(), "127.0.0.1:1", key="password"),
        "server open": server(peers.free_port(), "127.0.0.1:1", crypt="none"),
    }
    daemon = peers.Daemon(build, tmp_path, "secrets", sections)
    found = findings(daemon)
    for check, profiles in names.items():
        assert [f["what"].split(":")[0] for f in found[check]] == list(profiles)
    assert found.keys() == names.keys()
    text = daemon.ctl("doctor")
    assert text.returncode == 5
    assert "error: default: " in text.stdout and "warning: short: " in text.stdout
    assert "password" not in text.stdout and "secrect" not in text.stdout
    daemon.stop()


def test_clamped_buffers_and_few_files(build: Path, tmp_path: Path) -> None:
    """Without CAP_NET_ADMIN the kernel gives no more than rmem_max; without CAP_SYS_RESOURCE the
    limit of files stays."""
    limit = min(int(Path(f"/proc/sys/net/core/{name}mem_max").read_text()) for name in "rw")
    via = ("setpriv", "--bounding-set", "-net_admin,-sys_resource", "prlimit", "--nofile=512:512")
    sections = {
        "server s": server(peers.free_port(), "127.0.0.1:1", sockbuf=limit + 65536),
    }
    if os.geteuid() != 0:
        via = via[3:]
    daemon = peers.Daemon(build, tmp_path, "clamped", sections, via=via)
    said = "s: the kernel gives %d of %d bytes of socket buffer (sockbuf)"
    assert daemon.log().count(said % (limit, limit + 65536)) == 1, daemon.tail()
    (f,) = findings(daemon)["sockbuf"]
    assert str(limit + 65536) in f["what"] and f"net.core.rmem_max={limit + 65536}" in f["do"]
    done = json.loads(daemon.ctl("--json", "doctor").stdout)["findings"]
    assert [x["what"] for x in done if x["check"] == "files"][0].endswith("descriptors are in use")
    text = daemon.conf_path.read_text().replace(str(limit + 65536), str(limit + 131072))
    daemon.conf_path.write_text(text)
    assert daemon.ctl("reload").returncode == 0
    peers.wait_for("the new limit", lambda: said % (limit, limit + 131072) in daemon.log(), 10)
    daemon.stop()


def test_target_that_refuses(build: Path, tmp_path: Path) -> None:
    port, server_port, nobody = (peers.free_port() for _ in range(3))
    sections = {
        "server s": server(server_port, f"127.0.0.1:{nobody}"),
        "client c": client(port, server_port),
    }
    daemon = peers.Daemon(build, tmp_path, "refused", sections)
    with pytest.raises(ConnectionResetError):
        with apps.connect(port, 20) as s:
            apps.ask(s)
    (f,) = findings(daemon)["dial"]
    assert f"s: the target 127.0.0.1:{nobody} cannot be reached: Connection refused" in f["what"]
    daemon.stop()


def test_stranger(build: Path, tmp_path: Path) -> None:
    """A client with another key is named by its address; a good one beside it is not."""
    port, bad_port, server_port = (peers.free_port() for _ in range(3))
    with apps.Service(apps.echo) as target:
        far = peers.Daemon(
            build, tmp_path, "far", {"server s": server(server_port, target.address)}
        )
        near = peers.Daemon(
            build,
            tmp_path,
            "near",
            {
                "client good": client(port, server_port),
                "client bad": client(bad_port, server_port, key=SECURE[::-1]),
            },
        )
        with apps.connect(port, 20) as s, apps.connect(bad_port, 20) as lost:
            lost.sendall(b"hello")
            apps.ask(s)
            peers.wait_for("a stranger", lambda: "strangers" in findings(far), 10)
            (session,) = json.loads(near.ctl("--json", "sessions", "bad").stdout)["sessions"]
            assert session["state"] == "opening"
            (f,) = findings(far)["strangers"]
            assert "from 127.0.0.1:" in f["what"]
        near.discard()
        far.discard()


def test_receive_drops(build: Path, tmp_path: Path) -> None:
    """A daemon that is stopped while datagrams come lets its socket's buffer run over."""
    port = peers.free_port()
    sections = {"server s": server(port, "127.0.0.1:1", sockbuf=4096)}
    daemon = peers.Daemon(build, tmp_path, "full", sections)
    daemon.signal(signal.SIGSTOP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(500):
            s.sendto(bytes(1000), ("127.0.0.1", port))
    daemon.signal(signal.SIGCONT)
    (f,) = peers.wait_for("drops", lambda: findings(daemon).get("drops"), 10)
    assert f["what"].startswith("s: the kernel dropped ")
    daemon.stop()


class Hole:
    """A relay that lets through what is small: a path with a black hole for full datagrams."""

    def __init__(self, to: int, limit: int) -> None:
        self.limit, self.to, self.closing = limit, ("127.0.0.1", to), False
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", 0))
        self.port = self.near.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        back = None
        while not self.closing:
            for s in select.select([self.near, self.far], [], [], 0.1)[0]:
                data, sender = s.recvfrom(2048)
                if s is self.near:
                    back = sender
                    if len(data) <= self.limit:
                        self.far.sendto(data, self.to)
                elif back:
                    self.near.sendto(data, back)

    def close(self) -> None:
        self.closing = True
        self.thread.join(5)
        self.near.close()
        self.far.close()


def test_black_hole(build: Path, tmp_path: Path) -> None:
    """Keystrokes pass, bulk does not."""
    port, server_port = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        far = peers.Daemon(
            build, tmp_path, "far", {"server s": server(server_port, target.address)}
        )
        hole = Hole(server_port, 1000)
        near = peers.Daemon(build, tmp_path, "near", {"client c": client(port, hole.port)})
        with apps.connect(port, 20) as s:
            apps.ask(s)
            assert "mtu" not in findings(near)
            s.sendall(os.urandom(200000))
            peers.wait_for("suspicion", lambda: "mtu" in findings(near), 20, step=0.5)
            assert "1 of 1 sessions" in findings(near)["mtu"][0]["what"]
        near.discard()
        far.discard()
        hole.close()


def test_path_that_is_too_narrow(build: Path, tmp_path: Path) -> None:
    """The kernel knows that mtu does not fit: on a device with an MTU of 1280."""
    if os.geteuid() != 0:
        pytest.skip("takes a network namespace")
    local = tmp_path / "local"
    server_port = peers.free_port()
    with apps.Service(apps.echo, tmp_path / "target") as target:
        sections = {
            "server s": server(server_port, target.address),
            "client c": {**client(1, server_port), "localaddr": local},
        }
        script = 'ip link set lo up mtu 1280; exec "$@"'
        via = ("unshare", "-n", "sh", "-c", script, "-")
        daemon = peers.Daemon(build, tmp_path, "narrow", sections, wait=False, via=via)
        daemon.wait_until("its socket", local.exists)
        peers.wait_for("an answer", lambda: daemon.ctl("status").returncode == 0, 10)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(local))
            s.sendall(b"ping")
            assert s.recv(4) == b"ping"
            (f,) = findings(daemon)["mtu"]
            assert "mtu = 1350, but the path carries 1280" in f["what"]
            assert f["do"] == "mtu = 1232"
        daemon.discard()


def test_sending_fails(build: Path, tmp_path: Path) -> None:
    """No route: in a namespace whose loopback device is taken down."""
    if os.geteuid() != 0:
        pytest.skip("takes a network namespace")
    local = tmp_path / "local"
    sections = {"client c": {**client(1, peers.free_port()), "localaddr": local}}
    script = 'ip link set lo up; (sleep 2; exec ip link set lo down) & exec "$@"'
    via = ("unshare", "-n", "sh", "-c", script, "-")
    daemon = peers.Daemon(build, tmp_path, "down", sections, wait=False, via=via)
    daemon.wait_until("its socket", local.exists)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(local))
        s.sendall(b"ping")
        time.sleep(2)
        both = lambda: {"send", "dial"} & findings(daemon).keys()  # noqa: E731
        peers.wait_for("complaint", both, 20, step=0.5)
    daemon.discard()
