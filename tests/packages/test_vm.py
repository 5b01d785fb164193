"""tests/packages/test_vm.py - the deb as a service of a systemd that runs, on kernels other than
this machine's and without a network: installed, used, reloaded, upgraded, purged; and what of our
other tests meets the kernel. In the order of the file, since a machine takes its time to start."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import Root, newer
from machine import KERNELS, Done, Machine

# What the tests take; what the packages take they must ask for.
GUEST = "dbus kmod libcmocka0 procps qemu-guest-agent socat systemd-sysv udev".split()
CONF = "/etc/kcptun.ini"
DROP_INS = "/etc/systemd/system/kcptund.service.d"
TARGET, LOCAL = 5301, 12948
PROFILES = f"""
[server there]
key = "correct horse"
listen = 127.0.0.1:29900
target = 127.0.0.1:{TARGET}

[client here]
key = "correct horse"
localaddr = 127.0.0.1:{LOCAL}
remoteaddr = 127.0.0.1:29900
"""
MEGABYTE = 1 << 20
DEB, NEXT, UNIT = "/srv/kcptund.deb", "/srv/kcptund-next.deb", "/srv/unit"
UNIT_TESTS = [  # the I/O backends, sockets, and what else of daemon/ meets the kernel
    *("claims", "clock_watch", "ctl", "faketcp", "io", "io_streams", "limits", "log", "mail"),
    *("mailbox", "net", "notify", "resolve", "steer"),
]


@pytest.fixture(scope="session")
def system(debs: dict[str, Path], out: Path, programs: Path) -> Iterator[Root]:
    """Debian 12 as its machines have it: with systemd, the packages to be installed and, in apt's
    cache, what these ask for; our programs and tests where they are here."""
    with Root.debootstrap(out / "vm-root", GUEST) as root:
        root.run("apt-get", "update")
        root.install(debs["kcptund"], download_only=True)
        shutil.copy(debs["kcptund"], root.path / DEB[1:])
        shutil.move(newer(debs["kcptund"], out), root.path / NEXT[1:])
        # as Debian's installer writes it
        (root.path / "etc/hosts").write_text("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
        (root.path / UNIT[1:]).mkdir(exist_ok=True)
        for name in UNIT_TESTS:
            source, copy = (
                programs / f"tests/unit/test_{name}",
                root.path / f"{UNIT[1:]}/test_{name}",
            )
            subprocess.run(["strip", "-o", copy, source], check=True)
        yield root


@pytest.fixture(scope="module", params=KERNELS, ids=lambda k: k.name)
def vm(request: pytest.FixtureRequest, system: Root, out: Path) -> Iterator[Machine]:
    kernel = request.param
    image, disk = out / f"linux-{kernel.name}", out / f"linux-{kernel.name}.disk"
    kernel.install(system, image)
    Machine.make_disk(system, disk)
    with Machine(kernel, image, disk) as machine:
        yield machine
    image.unlink()


class Service:
    """kcptund as the package installs it, with a server, a client and an echo behind them."""

    def __init__(self, vm: Machine) -> None:
        self.vm = vm
        self.before = set(self.files())
        vm.run(f"apt-get install -y --no-install-recommends {DEB}", seconds=900)
        self.conf = vm.says(f"cat {CONF}") + "\n"
        vm.run(
            f"systemd-run --unit=target socat -t 120 TCP-LISTEN:{TARGET},reuseaddr,fork EXEC:cat"
        )
        self.configure()

    def files(self) -> list[str]:
        """Every path with our name in it, but what dpkg and apt keep for themselves, and us."""
        return self.vm.says(
            "find / /run -xdev '(' -path /srv -o -path /tmp -o -path /var/lib/dpkg/info"
            " -o -path /var/cache/apt ')' -prune -o -name '*kcptun*' -print"
        ).splitlines()

    def configure(self, profiles: str = PROFILES, **keys: str) -> None:
        """Of [global]; and starts anew."""
        words = "".join(f"{name} = {value}\n" for name, value in keys.items())
        self.write(words, profiles)
        self.restart()

    def restart(self, check: bool = True) -> bool:
        """However often that happened lately. Whether it succeeds."""
        command = "systemctl reset-failed kcptund; systemctl restart kcptund"
        return self.vm.run(command, check).status == 0

    def write(self, words: str = "", profiles: str = PROFILES) -> None:
        self.vm.write(CONF, self.conf.replace("[global]\n", "[global]\n" + words) + profiles)

    def show(self, name: str) -> str:
        return self.vm.says(f"systemctl show -p {name} --value kcptund")

    def log(self, words: str = "-n 20") -> str:
        return self.vm.says(f"journalctl -q --no-pager -o cat -u kcptund {words}")

    def complaints(self) -> str:
        """Of the process that runs."""
        return self.log(f"-p warning _PID={self.show('MainPID')}")


@pytest.fixture(scope="module")
def service(vm: Machine) -> Service:
    return Service(vm)


def pass_data(vm: Machine, size: int = 4 * MEGABYTE, port: int = LOCAL) -> None:
    """What goes in comes back, to its end."""
    vm.run(
        f"head -c {size} /dev/urandom >/tmp/sent;"
        f"socat -t 60 - TCP:127.0.0.1:{port} </tmp/sent >/tmp/got; cmp /tmp/sent /tmp/got"
    )


# ---- installed ----


def test_the_machine_is_what_it_should_be(vm: Machine) -> None:
    assert vm.says("uname -r").startswith(vm.kernel.name + ".")
    assert vm.await_("systemctl is-system-running") == "running", vm.says("systemctl --failed")


def test_apt_starts_the_service(service: Service) -> None:
    vm = service.vm
    assert vm.says("systemctl is-enabled kcptund") == "enabled"
    assert service.show("ActiveState") == "active"
    assert service.show("StatusText").startswith("2 tunnels")
    assert vm.says(f"stat -c '%U:%G %a' {CONF}") == "root:kcptun 640"
    assert vm.says(f"ps -o user= -p {service.show('MainPID')}") == "kcptun"
    sizes = vm.says("sysctl -n net.core.rmem_max net.core.wmem_max").split()
    assert sizes == ["16777216"] * 2, sizes


def test_control_sockets(service: Service) -> None:
    vm = service.vm
    found = vm.says("stat -c '%n %U:%G %a' /run/kcptun/*").splitlines()
    assert found == [
        "/run/kcptun/control kcptun:kcptun 660",
        "/run/kcptun/stats kcptun:kcptun 666",
    ]
    vm.run("useradd -G kcptun member; useradd stranger")

    def by(user: str, command: str) -> Done:
        return vm.run(f"runuser -u {user} -- kcptunctl {command}", check=False)

    for user in ("root", "member", "stranger"):
        assert "here" in by(user, "status").out
        assert "there" in by(user, "stats").out
    assert by("member", "reload").status == 0
    refused = by("stranger", "reload")
    assert refused.status != 0 and "Permission denied" in refused.err, refused


def test_doctor_finds_nothing(service: Service) -> None:
    """That would be the unit's fault, or the package's."""
    pass_data(service.vm, MEGABYTE)
    service.vm.run("kcptunctl doctor")


# ---- data, by each way to the kernel ----


@pytest.mark.parametrize("io", ("auto", "epoll", "io_uring"))
def test_data_passes(service: Service, io: str) -> None:
    """io_uring as it is used takes 6.1: before that one who insists on it is told so, and left."""
    if io == "io_uring" and service.vm.kernel.name < "6.1":
        service.write("io = io_uring\n")
        assert not service.restart(check=False)
        assert "io = io_uring is not usable here (Linux 6.1 or later" in service.log()
        return
    service.configure(io=io)
    assert f", {'epoll' if io == 'auto' else io}" in service.log(), service.log()
    pass_data(service.vm)
    assert not service.complaints()


# ---- a day of a service ----


class Held:
    """A connection that has sent a part, and sends the rest when it is told to."""

    def __init__(self, vm: Machine) -> None:
        self.vm = vm
        vm.run(f"rm -f /tmp/go; head -c {4 * MEGABYTE} /dev/urandom >/tmp/held.sent")
        self.pid = vm.start(
            f"(head -c {MEGABYTE} /tmp/held.sent; until test -e /tmp/go; do sleep 0.1; done;"
            f" tail -c +{MEGABYTE + 1} /tmp/held.sent) |"
            f" socat -t 60 - TCP:127.0.0.1:{LOCAL} >/tmp/held.got; cmp /tmp/held.sent /tmp/held.got"
        )
        vm.await_(f"test $(stat -c %s /tmp/held.got) = {MEGABYTE}")

    def finish(self) -> None:
        self.vm.run("touch /tmp/go")
        self.vm.finish(self.pid, "the rest of a connection")


def test_reload(service: Service) -> None:
    service.configure()
    held = Held(service.vm)
    more = PROFILES.replace("here", "more").replace(str(LOCAL), str(LOCAL + 1))
    service.write(profiles=PROFILES + more[more.index("[client") :])
    service.vm.run("systemctl reload kcptund")
    service.vm.await_("kcptunctl stats more")
    pass_data(service.vm, MEGABYTE, LOCAL + 1)
    held.finish()


def test_a_changed_file_is_read(service: Service) -> None:
    service.configure()
    held = Held(service.vm)
    service.write("loglevel = debug\n", PROFILES.replace("here", "hence"))
    service.vm.await_("kcptunctl stats hence")
    service.vm.run("! kcptunctl stats here")
    held.finish()


def test_upgrade(service: Service) -> None:
    service.configure()
    vm = service.vm
    for _ in range(2):
        held, old = Held(vm), service.show("MainPID")
        vm.run("kcptunctl upgrade")
        new = vm.await_(
            f"p=$(systemctl show -p MainPID --value kcptund); test $p != {old} && echo $p"
        )
        assert (
            service.show("ActiveState") == "active" and vm.says("pidof kcptund").split()[0] == new
        )
        pass_data(vm, MEGABYTE)
        held.finish()
        vm.await_(f"! kill -0 {old}")
        assert service.show("ActiveState") == "active" and service.show("MainPID") == new
    assert service.show("NRestarts") == "0"


def test_the_package_is_upgraded(service: Service) -> None:
    """Up and down again: connections go on, and the program of the new package has the service."""
    service.configure()
    vm = service.vm
    for deb in (NEXT, DEB):
        held, old = Held(vm), service.show("MainPID")
        said = vm.run(f"apt-get install -y --allow-downgrades {deb}", seconds=900)
        new = service.show("MainPID")
        assert new != old and f"process {new} has the service" in said.out + said.err, said
        assert vm.says(f"readlink /proc/{new}/exe") == "/usr/sbin/kcptund"
        assert vm.says(f"readlink /proc/{old}/exe").endswith("(deleted)")
        pass_data(vm, MEGABYTE)
        held.finish()
        vm.await_(f"! kill -0 {old}")
        assert service.show("ActiveState") == "active" and service.show("MainPID") == new
        assert service.show("NeedDaemonReload") == "no"
    assert service.show("NRestarts") == "0"


def test_a_package_that_cannot_take_over(service: Service) -> None:
    """What it does not take keeps the old daemon; one that cannot be asked is restarted."""
    service.configure()
    vm = service.vm
    held, old = Held(vm), service.show("MainPID")
    service.write("nonsense = 1\n")
    said = vm.run(f"dpkg -i {DEB}", seconds=900)
    assert "nonsense: unknown key" in said.err and "the old one goes on" in said.err, said
    assert service.show("MainPID") == old and service.show("ActiveState") == "active"
    held.finish()
    service.write()
    vm.run(f"sed -i 's/^control = .*/control =/' {CONF}")
    said = vm.run(f"dpkg -i {DEB}", seconds=900)
    assert "restarting" in said.err, said
    assert service.show("MainPID") != old and service.show("ActiveState") == "active"
    pass_data(vm, MEGABYTE)


def test_a_package_upgrade_leaves_alone_what_was_stopped(service: Service) -> None:
    """As it does what a policy forbids. Removed and installed again it starts."""
    service.configure()
    vm = service.vm
    policy = "/usr/sbin/policy-rc.d"
    vm.run(f"printf '#!/bin/sh\\nexit 101\\n' >{policy}; chmod +x {policy}")
    old = service.show("MainPID")
    vm.run(f"dpkg -i {DEB}; rm {policy}", seconds=900)
    assert service.show("MainPID") == old and service.show("ActiveState") == "active"
    vm.run(f"systemctl stop kcptund; dpkg -i {DEB}", seconds=900)
    assert service.show("ActiveState") == "inactive"
    vm.run("dpkg -r kcptund; ! pidof kcptund", seconds=900)
    vm.run(f"dpkg -i {DEB}", seconds=900)
    assert service.show("ActiveState") == "active"
    pass_data(vm, MEGABYTE)


@contextmanager
def drop_in(service: Service, name: str, text: str = "") -> Iterator[None]:
    """One of the package's, if there is no text."""
    vm = service.vm
    vm.run(f"mkdir -p {DROP_INS}")
    if text:
        vm.write(f"{DROP_INS}/{name}.conf", text)
    else:
        vm.run(f"cp /usr/share/kcptund/systemd/{name}.conf {DROP_INS}")
    vm.run("systemctl daemon-reload")
    service.restart()
    yield
    vm.run(f"rm -r {DROP_INS}; systemctl daemon-reload")


def test_watchdog(service: Service) -> None:
    """Told in time that all is well, in the process after an upgrade, too; and a daemon that hangs
    is started again."""
    vm = service.vm
    service.write()
    with drop_in(service, "watchdog", "[Service]\nWatchdogSec=10\n"):
        vm.run("sleep 15; kcptunctl upgrade; sleep 15")
        assert service.show("NRestarts") == "0" and service.show("ActiveState") == "active"
        vm.run("kill -STOP $(systemctl show -p MainPID --value kcptund)")
        vm.await_(
            "test $(systemctl show -p NRestarts --value kcptund) = 1;"
            "test $(systemctl is-active kcptund) = active"
        )
        pass_data(vm, MEGABYTE)


# ---- what takes more than the unit has ----


def test_steering(service: Service) -> None:
    service.configure()
    assert "connected sockets a port (eBPF: Operation not permitted)" in service.log()
    with drop_in(service, "steering"):
        assert "there: sessions reach their worker by eBPF" in service.log()
        pass_data(service.vm, MEGABYTE)


def test_privileged_ports(service: Service) -> None:
    service.write(profiles=PROFILES.replace("29900", "443").replace(str(LOCAL), "80"))
    assert not service.restart(check=False)
    assert "Permission denied" in service.log("-n 20 -p err")
    with drop_in(service, "privileged-ports"):
        pass_data(service.vm, MEGABYTE, 80)


def test_raw_sockets(service: Service) -> None:
    service.configure(profiles="\n[defaults]\ntcp = true\n" + PROFILES)
    assert "tcp = true needs the capability CAP_NET_RAW" in service.log("-n 20 -p err")
    with drop_in(service, "raw-sockets"):
        pass_data(service.vm, MEGABYTE)
        assert not service.complaints()


# ---- other tests that meet the kernel ----


@pytest.mark.parametrize("name", UNIT_TESTS)
def test_unit(vm: Machine, name: str) -> None:
    """Those of the backends say that they leave out io_uring, which takes 6.1."""
    skips = name.startswith("io") and vm.kernel.name < "6.1"
    done = vm.run(f"{UNIT}/test_{name} 2>&1", check=False, seconds=300)
    assert done.status == (77 if skips else 0), done.out


# ---- and gone ----


def test_stop_and_purge(service: Service) -> None:
    vm = service.vm
    service.configure()
    pass_data(vm, MEGABYTE)
    vm.run("systemctl stop kcptund")
    assert service.show("Result") == "success"
    vm.run("apt-get purge -y kcptund; systemctl daemon-reload")
    left = set(service.files()) - service.before
    assert not left, left
