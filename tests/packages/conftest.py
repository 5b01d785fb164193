"""tests/packages/conftest.py - packages of this commit, and a fresh Debian to put them into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import Root, build


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--build", required=True, help="directory for packages and roots")
    parser.addoption("--programs", help="build directory whose tests also run in machines")


@pytest.fixture(scope="session")
def out(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--build")).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    path = request.config.getoption("--programs")
    assert path, "--programs is missing"
    return Path(path).resolve()


@pytest.fixture(scope="session")
def debs(out: Path) -> dict[str, Path]:
    return {p.name.split("_")[0]: p for p in build("deb", out / "deb")}


@pytest.fixture(scope="session")
def rpms(out: Path) -> dict[str, Path]:
    found = build("rpm", out / "rpm")
    return {p.name.rsplit("-", 2)[0]: p for p in found if not p.name.endswith(".src.rpm")}


@pytest.fixture(scope="session")
def debian(out: Path) -> Iterator[Root]:
    """Debian 12 as debootstrap leaves it: what the packages need they must ask for."""
    with Root.debootstrap(out / "root") as root:
        yield root
