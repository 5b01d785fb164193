"""tests/packages/test_packages.py - packages: built, checked, installed in a fresh system, used,
removed."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apps
import peers
import pytest
from kit import PATIENCE_S, TREE, Root, build, newer, passes_data, profiles

CONF = "etc/kcptun.ini"


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with apps.Service(apps.duplex) as service:
        yield service.address


@contextmanager
def started(argv: list[str], directory: Path) -> Iterator[peers.Process]:
    process = peers.Process("kcptund", argv, directory / "kcptund.log")
    try:
        yield process
    except BaseException:
        print(process.tail())
        raise
    finally:
        process.kill()


def service_command(unit: Path) -> list[str]:
    """What the service manager would run."""
    line = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.M)
    assert line, unit
    return shlex.split(line.group(1))


def owner(root: Root, path: str) -> str:
    return root.run("stat", "-c", "%U:%G %a", path).stdout.strip()


def names_in(deb: Path) -> set[str]:
    listing = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True, check=True)
    return {line.split()[5].removeprefix(".") for line in listing.stdout.splitlines()}


# ---- what is built ----


def test_debs_hold_what_they_should(debs: dict[str, Path]) -> None:
    assert set(debs) == {"kcptund", "kcptund-compat", "libikcp0", "libikcp-dev"}
    holds = {name: names_in(deb) for name, deb in debs.items()}
    assert {
        "/usr/sbin/kcptund",
        "/usr/bin/kcptunctl",
        "/usr/bin/kcptun-bench",
        "/usr/bin/kcptun-linkem",
        "/etc/kcptun.ini",
        "/usr/share/man/man8/kcptund.8.gz",
    } <= holds["kcptund"]
    assert {"/usr/bin/kcptun-client", "/usr/bin/kcptun-server"} <= holds["kcptund-compat"]
    assert {"/usr/include/ikcp.h", "/usr/share/man/man3/ikcp.3.gz"} <= holds["libikcp-dev"]
    assert any("/libikcp.so.0" in n for n in holds["libikcp0"])


def test_lintian(debs: dict[str, Path]) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", *debs.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rpmlint(rpms: dict[str, Path]) -> None:
    done = subprocess.run(
        ["rpmlint", "-c", TREE / "packaging/rpm/rpmlint.toml", *rpms.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": E: " in line]
    assert re.search(r"\b0 errors", done.stdout) and not errors, done.stdout + done.stderr


def test_the_same_commit_gives_the_same_packages(debs: dict[str, Path], out: Path) -> None:
    again = {p.name: p for p in build("deb", out / "deb-again")}
    for deb in debs.values():
        one, two = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (deb, again[deb.name]))
        assert one == two, f"{deb.name} differs from one build to the next"


# ---- the deb in a fresh system: installed, used, upgraded, removed, purged ----


def test_deb_from_installation_to_purge(
    debs: dict[str, Path], debian: Root, target: str, tmp_path: Path
) -> None:
    before = debian.files("kcptun")
    debian.run("apt-get", "update")
    debian.install(debs["kcptund"], debs["kcptund-compat"])
    assert owner(debian, "/etc/kcptun.ini") == "root:kcptun 640"
    assert "OK" in debian.run("kcptund", "-t").stdout
    wants = "etc/systemd/system/multi-user.target.wants/kcptund.service"
    assert (debian.path / wants).is_symlink(), "the service does not start with the system"
    debian.run("test", "-x", "/etc/needrestart/restart.d/kcptund.service")

    text, local = profiles(target, "correct horse")
    conf = debian.path / CONF
    conf.write_text(conf.read_text() + text)  # as an administrator would: owner and mode stay
    debian.run("install", "-d", "-o", "kcptun", "-g", "kcptun", "/run/kcptun")
    command = service_command(debian.path / "usr/lib/systemd/system/kcptund.service")
    as_service = ["setpriv", "--reuid=kcptun", "--regid=kcptun", "--init-groups", *command]
    with started(debian.command(*as_service), tmp_path) as service:
        passes_data(local)
        stats = debian.run("kcptunctl", "stats").stdout
        assert "there" in stats and "here" in stats, stats
        assert service.running()

    upgraded = newer(debs["kcptund"], tmp_path)
    debian.run("dpkg", "--force-depends", "-r", "kcptund-compat")
    debian.install(upgraded)
    assert text in conf.read_text(), "an upgrade has changed the configuration"
    assert owner(debian, "/etc/kcptun.ini") == "root:kcptun 640"

    debian.run("dpkg", "-r", "kcptund")
    assert conf.exists() and not (debian.path / "usr/sbin/kcptund").exists()
    debian.run("dpkg", "-P", "kcptund")
    left = debian.files("kcptun") - before
    assert left <= {"/run/kcptun"}, f"left behind: {sorted(left)}"


def test_compat_takes_the_place_of_kcptun(debs: dict[str, Path], debian: Root) -> None:
    debian.run("apt-get", "update")
    debian.run("apt-get", "install", "-y", "--no-install-recommends", "kcptun")
    debian.install(debs["kcptund"], debs["kcptund-compat"])
    status = debian.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "kcptun", check=False)
    assert not status.stdout.startswith("ii"), "both are installed"
    for name in ("kcptun-client", "kcptun-server"):
        assert "kcptun" in debian.run(name, "-v").stdout
    debian.run("dpkg", "-P", "kcptund-compat", "kcptund")


@pytest.mark.parametrize("compiler", (("cc", "-std=c99"), ("c++", "-x", "c++", "-std=c++11")))
@pytest.mark.parametrize("static", (False, True))
def test_program_for_the_library_packages(
    debs: dict[str, Path], tmp_path: Path, compiler: tuple[str, ...], static: bool
) -> None:
    """Written for the reference's header, built with what pkg-config says, and run."""
    for name in ("libikcp0", "libikcp-dev"):
        subprocess.run(["dpkg-deb", "-x", debs[name], tmp_path], check=True)
    (where,) = tmp_path.glob("usr/lib/*/pkgconfig")
    asked = subprocess.run(
        ["pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "libikcp >= 2.1.1"],
        env={
            **os.environ,
            "PKG_CONFIG_LIBDIR": str(where),
            "PKG_CONFIG_SYSROOT_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    flags, program = asked.stdout.split(), tmp_path / "user"
    source = TREE / "tests/packages/ikcp_user.c"
    link = ["-Wl,-Bstatic", *flags, "-Wl,-Bdynamic"] if static else flags
    subprocess.run(
        [*compiler, "-Wall", "-Wextra", "-Werror", *flags, "-o", program, source, "-x", "none"]
        + link,
        check=True,
    )
    done = subprocess.run(
        [program],
        env={} if static else {"LD_LIBRARY_PATH": str(where.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_library_exports_its_interface_alone(debs: dict[str, Path], tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", debs["libikcp0"], tmp_path], check=True)
    library = next(tmp_path.glob("usr/lib/*/libikcp.so.0"))
    done = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    declared = set(re.findall(r"\b(ikcp_\w+)\(", (TREE / "core/ikcp.h").read_text()))
    assert names == declared


# ---- the rpm: built to prove the spec, its payload unpacked and run ----


def test_rpm_payload_runs(rpms: dict[str, Path], target: str, tmp_path: Path) -> None:
    assert {"kcptund", "kcptund-compat", "libikcp", "libikcp-devel"} == set(rpms)
    for rpm in (rpms["kcptund"], rpms["kcptund-compat"]):
        payload = subprocess.run(["rpm2cpio", rpm], capture_output=True, check=True).stdout
        subprocess.run(["cpio", "-idm", "--quiet"], input=payload, cwd=tmp_path, check=True)
    assert (tmp_path / "usr/bin/kcptun-server").resolve() == (
        tmp_path / "usr/sbin/kcptund"
    ).resolve()
    text, local = profiles(target, "battery staple")
    conf = tmp_path / CONF
    conf.write_text(conf.read_text().replace("/run/kcptun", str(tmp_path)) + text)
    program, *arguments = service_command(tmp_path / "usr/lib/systemd/system/kcptund.service")
    arguments = [a.replace("/etc/kcptun.ini", str(conf)) for a in arguments]
    with started([str(tmp_path / program.lstrip("/")), *arguments], tmp_path) as service:
        passes_data(local)
        service.signal(signal.SIGTERM)
        assert service.wait(PATIENCE_S) == 0
