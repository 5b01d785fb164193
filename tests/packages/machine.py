"""tests/packages/machine.py - a machine: a system in a directory made into a disk, a kernel that is
not this machine's, both under qemu, and commands run inside it by its guest agent."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import Root

MEMORY_MIB = 1024
DISK_GIB = 3  # a file with holes
BOOT_S = 600
# Emulated everywhere alike: not every /dev/kvm can run a BIOS. One without AVX, which QEMU 7.2 gets
# wrong here and there.
CPU = "Westmere"
LINUX_5_15 = "5.15.0-25"


@dataclass(frozen=True)
class Kernel:
    """Linux as a distribution builds it. It is started without an initial file system: the disk is
    of a kind whose driver is built in."""

    name: str
    disk: list[str]  # to qemu
    root: str  # what it is called inside
    source: str = ""  # a line for apt: not of the system's own distribution
    sha256: dict[str, str] = field(default_factory=dict)  # of its packages, which apt cannot prove

    def fetch(self, root: Root) -> list[Path]:
        where = root.path / "tmp/kernel"
        shutil.rmtree(where, ignore_errors=True)
        (where / "lists").mkdir(parents=True)
        (where / "source").write_text(self.source + "\n")
        options, names = "", "$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*: //p')"
        if self.source:
            names = " ".join(self.sha256)
            options = (
                "-o Dir::State::Lists=/tmp/kernel/lists -o Dir::Etc::SourceParts=- "
                "-o Dir::Etc::SourceList=/tmp/kernel/source"
            )
        root.run(
            "sh",
            "-ec",
            f"cd /tmp/kernel; apt-get {options} update; apt-get {options} download {names}",
        )
        found = sorted(where.glob("*.deb"))
        if self.source:
            for deb in found:
                digest = hashlib.sha256(deb.read_bytes()).hexdigest()
                assert digest == self.sha256[deb.name.split("_")[0]], f"{deb.name}: {digest}"
        return found

    def install(self, root: Root, boot: Path) -> None:
        """Modules to where the system looks for them, the image to boot."""
        for deb in self.fetch(root):
            subprocess.run(["dpkg", "-x", deb, root.path / "tmp/kernel"], check=True)
        modules = root.path / "usr/lib/modules"
        shutil.rmtree(modules, ignore_errors=True)
        shutil.move(root.path / "tmp/kernel/lib/modules", modules)
        (image,) = (root.path / "tmp/kernel/boot").glob("vmlinuz-*")
        shutil.move(image, boot)
        root.run("depmod", image.name.removeprefix("vmlinuz-"))
        shutil.rmtree(root.path / "tmp/kernel")


KERNELS = (
    Kernel("6.1", ["-device", "nvme,serial=root,drive=root"], "/dev/nvme0n1"),
    Kernel(  # the oldest that the daemon is made for
        "5.15",
        ["-device", "ide-hd,drive=root"],
        "/dev/sda",
        "deb [trusted=yes] http://archive.ubuntu.com/ubuntu jammy main",
        {
            f"linux-image-{LINUX_5_15}-generic": (
                "ad56f8c442a54d4f5ff2dff010d00321d53e32b543f3a92f3ba4e042d20a71da"
            ),
            f"linux-modules-{LINUX_5_15}-generic": (
                "d0ba4087d9e1d497925b3481d3531fba6c2a852855f8019d73b0b1385aa4da1f"
            ),
        },
    ),
)


@dataclass
class Done:
    status: int
    out: str
    err: str


class Agent:
    """QEMU's guest agent: a line of JSON each way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket: socket.socket | None = None
        self.lines: Any = None

    def close(self) -> None:
        for end in (self.lines, self.socket):
            if end:
                end.close()
        self.lines = self.socket = None

    def meet(self, seconds: float) -> bool:
        """Whether it answers; what it was asked before that is forgotten."""
        self.close()
        try:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(seconds)
            self.socket.connect(str(self.path))
            self.lines = self.socket.makefile("rwb")
            number = time.monotonic_ns()
            while self.call("guest-sync", id=number) != number:
                pass
        except OSError:
            return False
        self.socket.settimeout(60)
        return True

    def call(self, command: str, **arguments: Any) -> Any:
        request = {"execute": command, "arguments": arguments}
        self.lines.write(json.dumps(request).encode() + b"\n")
        self.lines.flush()
        line = self.lines.readline()
        if not line:
            raise ConnectionResetError("the machine has ended")
        answer = json.loads(line)
        assert "return" in answer, f"{command}: {answer}"
        return answer["return"]


class Machine:
    """A running one; it ends, and its disk is gone, with the block."""

    def __init__(self, kernel: Kernel, image: Path, disk: Path) -> None:
        self.kernel, self.image, self.disk = kernel, image, disk
        self.console = disk.with_suffix(".console")
        self.place = Path(tempfile.mkdtemp(prefix="kcptund-vm."))  # short enough for a socket
        self.agent = Agent(self.place / "agent")
        self.qemu: subprocess.Popen[bytes] | None = None

    @staticmethod
    def make_disk(root: Root, disk: Path) -> None:
        with disk.open("wb") as f:
            f.truncate(DISK_GIB << 30)
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root.path, disk], check=True
        )

    def command(self) -> list[str]:
        words = f"root={self.kernel.root} rw console=ttyS0 panic=-1"
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", CPU),
            *("-m", str(MEMORY_MIB), "-smp", "2", "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none", "-serial", f"file:{self.console}"),
            *("-kernel", str(self.image), "-append", words),
            *("-drive", f"file={self.disk},if=none,id=root,format=raw,cache=unsafe"),
            *self.kernel.disk,
            *("-chardev", f"socket,id=agent,path={self.agent.path},server=on,wait=off"),
            *("-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        ]

    def __enter__(self) -> Machine:
        self.qemu = subprocess.Popen(self.command())
        until = time.monotonic() + BOOT_S
        while not self.agent.meet(3):
            if self.qemu.poll() is not None or time.monotonic() > until:
                self.__exit__()
                end = self.console.read_text(errors="replace")[-4000:]
                raise AssertionError(f"Linux {self.kernel.name} does not come up:\n{end}")
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.close()
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
        self.disk.unlink(missing_ok=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def start(self, command: str) -> int:
        """By its shell, as root; a number for finish()."""
        more = {"capture-output": True}
        return self.agent.call("guest-exec", path="/bin/sh", arg=["-ec", command], **more)["pid"]

    def finish(self, pid: int, what: str, check: bool = True, seconds: float = 300) -> Done:
        until, rest = time.monotonic() + seconds, 0.01
        while not (answer := self.agent.call("guest-exec-status", pid=pid))["exited"]:
            assert time.monotonic() < until, f"{what}: not done after {seconds:g} s"
            time.sleep(rest)
            rest = min(rest * 1.5, 0.5)
        out, err = (
            base64.b64decode(answer.get(name, "")).decode(errors="replace").strip()
            for name in ("out-data", "err-data")
        )
        done = Done(answer.get("exitcode", -answer.get("signal", 0)), out, err)
        assert not check or done.status == 0, f"{what}: {done.status}\n{out}\n{err}"
        return done

    def run(self, command: str, check: bool = True, seconds: float = 300) -> Done:
        """check: it must succeed."""
        return self.finish(self.start(command), command, check, seconds)

    def says(self, command: str) -> str:
        return self.run(command).out

    def await_(self, command: str, seconds: float = 120) -> str:
        """Until it succeeds, and what it then says."""
        until = time.monotonic() + seconds
        while True:
            done = self.run(command, check=False)
            if done.status == 0:
                return done.out
            assert time.monotonic() < until, f"{command}: {done.status}\n{done.out}{done.err}"
            time.sleep(0.2)

    def write(self, path: str, text: str) -> None:
        """Into the file that is there, so that its owner and mode stay."""
        coded = base64.b64encode(text.encode()).decode()
        self.run(f"echo {coded} | base64 -d >{path}")
