"""tests/interop/test_upgrade_service.py - what packages call after an upgrade: a daemon that runs
hands over, is restarted, or stays. The service manager is a script here; tests/packages/test_vm.py
has a real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pace
import peers
import pytest
from test_upgrade import talking

SCRIPT = Path(__file__).resolve().parents[2] / "packaging/upgrade-service"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"${0%/*}/calls"
[ $1 != show ] || cat "${0%/*}/pid"
"""
ASKED = "show -p MainPID --value kcptund.service"


class Manager:
    """systemctl, as far as it is asked for, and the rest of a PATH."""

    def __init__(self, place: Path, build: Path) -> None:
        self.place = place / "bin"
        self.place.mkdir()
        (self.place / "kcptunctl").symlink_to(build / "tools/kcptunctl")
        for name, text in (("systemctl", SYSTEMCTL), ("sleep", "#!/bin/sh\n")):
            (self.place / name).write_text(text)
            (self.place / name).chmod(0o755)

    def upgrade(self, pid: int) -> subprocess.CompletedProcess[str]:
        (self.place / "pid").write_text(f"{pid}\n")
        (self.place / "calls").write_text("")
        return subprocess.run(
            [SCRIPT],
            capture_output=True,
            text=True,
            timeout=pace.limit(120),
            check=False,
            env={
                **os.environ,
                **peers.SANITIZER_ENV,
                "PATH": f"{self.place}:{os.environ['PATH']}",
            },
        )

    def calls(self) -> list[str]:
        return (self.place / "calls").read_text().splitlines()


@pytest.fixture
def manager(build: Path, tmp_path: Path) -> Manager:
    if os.geteuid() != 0:
        pytest.skip("becomes the user of the service")
    return Manager(tmp_path, build)


def test_hands_over(build: Path, tmp_path: Path, manager: Manager) -> None:
    with talking(build, tmp_path) as (daemon, _, _):
        done = manager.upgrade(daemon.pid)
        assert done.returncode == 0, done
        daemon.pids.append(daemon.now())
        assert daemon.pids[-1] != daemon.pid and f"process {daemon.pids[-1]} has" in done.stderr
        assert manager.calls() == [ASKED]


def test_stays_with_what_the_new_one_does_not_take(
    build: Path, tmp_path: Path, manager: Manager
) -> None:
    """It is told, and once the cause is gone the same command does it."""
    with talking(build, tmp_path) as (daemon, _, _):
        good = daemon.conf_path.read_text()
        daemon.conf_path.write_text(good + "nonsense = 1\n")
        done = manager.upgrade(daemon.pid)
        assert done.returncode == 1 and "nonsense: unknown key" in done.stderr, done
        assert daemon.now() == daemon.pid and manager.calls() == [ASKED]
        daemon.conf_path.write_text(good)
        assert manager.upgrade(daemon.pid).returncode == 0
        daemon.pids.append(daemon.now())
        assert daemon.pids[-1] != daemon.pid


@pytest.mark.parametrize("why", ("refused", "unreached", "without"))
def test_restarts_what_cannot_hand_over(
    build: Path, tmp_path: Path, manager: Manager, why: str
) -> None:
    with talking(build, tmp_path) as (daemon, program, _):
        text = daemon.conf_path.read_text()
        if why == "refused":
            program.unlink()
            program.write_text(
                f'#!/bin/sh\n[ "$3" = -T ] && exec {build}/daemon/kcptund "$@"\nexit 3\n'
            )
            program.chmod(0o755)
            said, times = "ended with status 3", 3
        elif why == "unreached":
            daemon.conf_path.write_text(text.replace(f"{daemon.control}", f"{daemon.control}2"))
            said, times = "No such file", 0
        else:
            daemon.conf_path.write_text(text.replace(f"{daemon.control}", ""))
            said, times = "no control socket", 0
        done = manager.upgrade(daemon.pid)
        assert done.returncode == 0 and said in done.stderr and "restarting" in done.stderr, done
        assert manager.calls() == [ASKED, "try-restart kcptund.service"]
        assert daemon.log().count("no upgrade: ") == times
        assert daemon.now() == daemon.pid


def test_what_does_not_run_stays_so(manager: Manager) -> None:
    done = manager.upgrade(0)
    assert done.returncode == 0 and not done.stderr and manager.calls() == [ASKED], done
