"""tests/interop/conftest.py - options and fixtures of the tests that drive real programs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pace
import peers
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--build",
        default=os.environ.get("KCPTUND_BUILD", "build"),
        help="build directory with the programs under test",
    )
    parser.addoption(
        "--matrix",
        choices=("small", "ci", "full"),
        default="ci",
        help="small: a taste for sanitizer builds; ci: every pair of settings; "
        "full: the whole product",
    )
    parser.addoption(
        "--scale", type=float, default=1.0, help="stretches time limits, for slow builds"
    )


def pytest_configure(config: pytest.Config) -> None:
    pace.scale = config.getoption("--scale")


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--build")).resolve()
    for name in ("daemon/kcptund", "tools/kcptunctl", "tests/udpmangle"):
        if not os.access(path / name, os.X_OK):
            pytest.fail(f"{path / name} is not built", pytrace=False)
    return path


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> float:
    return request.config.getoption("--scale")


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """What a failed test leaves behind would go on to take processors from those after it."""
    yield
    for process in peers.started:
        process.kill()
    peers.started.clear()


@pytest.fixture
def theirs() -> None:
    """Asks for the packaged peer: missing, a test is skipped on a desk and fails in CI."""
    if not peers.have_theirs():
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("the package kcptun (the peer) is not installed")


def _probe_io_uring() -> bool:
    params = (ctypes.c_uint32 * 30)()
    params[2] = 1 << 12 | 1 << 13  # of one thread, which does all: what our backend asks for
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(425, 2, params)  # io_uring_setup
    if fd < 0:
        return False
    os.close(fd)
    return True


@pytest.fixture(scope="session")
def io_uring_works() -> bool:
    """Containers often forbid it, and before Linux 6.1 it is not what we need."""
    return _probe_io_uring()
