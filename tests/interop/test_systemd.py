"""tests/interop/test_systemd.py - the unit and what comes with it: well-formed, hardened, and
enough for the daemon to live with."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import apps
import peers
import pytest
from test_service import metrics_pair, scrape

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
DROP_INS = [
    PACKAGING / f"systemd/{name}.conf" for name in ("steering", "privileged-ports", "raw-sockets")
]
EXPOSURE_MAX = 20  # tenths


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def unit(build: Path) -> Path:
    return build / "packaging/kcptund.service"


@pytest.mark.parametrize("drop_in", [None, *DROP_INS], ids=lambda p: p.stem if p else "alone")
def test_the_unit_is_hardened(build: Path, tmp_path: Path, drop_in: Path | None) -> None:
    copy = tmp_path / "kcptund.service"
    shutil.copy(unit(build), copy)
    if drop_in:
        (tmp_path / "kcptund.service.d").mkdir()
        shutil.copy(drop_in, tmp_path / "kcptund.service.d")
    done = run(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={EXPOSURE_MAX}",
        copy,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_is_well_formed(build: Path, tmp_path: Path) -> None:
    """The service manager's own parser finds nothing to say."""
    copy = tmp_path / "kcptund.service"
    text = unit(build).read_text()
    assert "@" not in re.sub(r"@[a-z-]+", "", re.sub(r"(?m)^SystemCallFilter=.*$", "", text))
    copy.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={build}/daemon/kcptund", text))
    done = run("systemd-analyze", "verify", "--man=no", copy)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_users_file_makes_the_user(tmp_path: Path) -> None:
    for name in ("etc", "usr"):
        (tmp_path / name).mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", PACKAGING / "systemd/sysusers.conf")
    assert done.returncode == 0, done.stderr
    row = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert row[0] == "kcptun" and row[6] == "/usr/sbin/nologin", row
    assert (tmp_path / "etc/group").read_text().startswith("kcptun:")


@pytest.mark.parametrize("io", ("epoll", "io_uring"))
def test_the_daemon_under_the_units_filter(
    build: Path, tmp_path: Path, io: str, io_uring_works: bool
) -> None:
    """A day in its life with the calls the unit allows; any other would kill it. Only eBPF is asked
    for and refused: the drop-in for steering allows that."""
    if io == "io_uring" and not io_uring_works:
        io = "auto"
    with apps.Service(apps.duplex) as target:
        sections, port, at = metrics_pair(target.address, io=io, log=tmp_path / "kcptund.log")
        stats = tmp_path / "stats"
        sections["global"].update(stats=stats, loglevel="debug")
        # by name, so that the resolver works, too
        where = sections["server s"]["listen"].replace("127.0.0.1", "localhost")
        sections["client c"]["remoteaddr"] = where
        via = (
            "env",
            # at the end the leak checker traces the process, which no service may
            "ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99",
            "/usr/bin/python3",
            str(ROOT / "tests/support/under_filter.py"),
            str(unit(build)),
            "--refuse",
            "bpf",
            "--",
        )
        daemon = peers.Daemon(build, tmp_path, "both", sections, via=via)
        apps.exchange(port, 3 << 20, 3 << 20, 1)
        scrape(at)
        assert daemon.stats()["profiles"]
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGUSR1)
        apps.exchange(port, 1000, 1000, 2)
        daemon.stop()


def test_the_filter_is_one(build: Path, tmp_path: Path) -> None:
    """What the test above relies on: a call that the unit does not allow ends the program."""
    script = str(ROOT / "tests/support/under_filter.py")
    argv = ["/usr/bin/python3", script, str(unit(build)), "--", "/usr/bin/python3", "-c"]
    assert run(*argv, "print(1)").returncode == 0
    assert run(*argv, "import os; os.chroot('/')").returncode == -signal.SIGSYS


def test_the_installed_configuration_is_the_services(build: Path) -> None:
    """Its sockets are in the unit's RuntimeDirectory, and it is a good one."""
    text = (PACKAGING / "etc/kcptun.ini").read_text()
    assert "RuntimeDirectory=kcptun\n" in unit(build).read_text()
    assert re.search(r"^control = /run/kcptun/control$", text, re.M)
    done = run(build / "daemon/kcptund", "-t", "-c", PACKAGING / "etc/kcptun.ini")
    assert done.returncode == 0, done.stderr


NAMES = re.compile(r"\b((?:kcptund|process)_[a-z_]+)\b")


def names_used() -> set[str]:
    """By the dashboard's queries and the alerts' expressions."""
    dashboard = json.loads((PACKAGING / "grafana/kcptund.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    queries += [v["query"]["query"] for v in dashboard["templating"]["list"][1:]]
    rules = (PACKAGING / "prometheus/kcptund.rules.yml").read_text()
    queries += re.findall(r"expr:(.*?)\n        (?:for|labels):", rules, re.S)
    assert len(queries) > 35
    return {name for query in queries for name in NAMES.findall(query)}


def test_dashboard_and_alerts_use_what_is_exported(build: Path, tmp_path: Path) -> None:
    sections, _, at = metrics_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    exported = {name for name, _ in scrape(at).samples}
    daemon.stop()
    used = names_used()
    assert len(used) > 20 and used <= exported, used - exported
    promtool = shutil.which("promtool")
    if promtool:
        done = run(promtool, "check", "rules", PACKAGING / "prometheus/kcptund.rules.yml")
        assert done.returncode == 0, done.stdout + done.stderr
