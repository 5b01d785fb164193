"""tests/interop/test_matrix.py - our ends and the packaged ones, in each role, over every pair of
settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apps
import peers
import pytest
from cover import pairs_of, pairwise, whole_product

CIPHERS = (
    "aes",
    "aes-128",
    "aes-192",
    "salsa20",
    "blowfish",
    "twofish",
    "cast5",
    "3des",
    "tea",
    "xtea",
    "xor",
    "sm4",
    "none",
)
OUR_CIPHERS = ("aes-128-gcm", "null")
ENDS = (("ours", "theirs"), ("theirs", "ours"), ("ours", "ours"))  # client, server
# client's shape, server's shape
SHAPES = (
    ((10, 3), (10, 3)),
    ((5, 2), (5, 2)),
    ((0, 0), (0, 0)),
    ((10, 3), (0, 0)),
    ((0, 0), (10, 3)),
    ((10, 3), (5, 2)),
)
AXES: dict[str, tuple[Any, ...]] = {
    "ends": ENDS,
    "crypt": CIPHERS,
    "shapes": SHAPES,
    "nocomp": (True, False),
    "smuxver": (1, 2),
    "io": ("epoll", "io_uring"),
    "workers": (1, 2),
    "lossy": (False, True),
}
LOSS = "loss=5"
# The packaged peer seals and opens with one SM4 object at once and damages some packets of its own.
RACY_THERE = ("sm4",)


def rows_for(size: str) -> list[dict[str, Any]]:
    if size == "full":
        rows = whole_product(AXES)
        extra = {**AXES, "ends": (("ours", "ours"),), "crypt": OUR_CIPHERS}
        return rows + whole_product(extra)
    own = pairwise({**AXES, "ends": (("ours", "ours"),), "crypt": OUR_CIPHERS})
    rows = pairwise(AXES)
    if size == "ci":
        return rows + own
    return rows[::8] + own[::6]


def name_of(row: dict[str, Any]) -> str:
    near, far = row["shapes"]
    return "-".join(
        [
            "_".join(row["ends"]),
            row["crypt"],
            "%d.%d_%d.%d" % (*near, *far),
            "raw" if row["nocomp"] else "snappy",
            f"smux{row['smuxver']}",
            row["io"],
            f"w{row['workers']}",
            "lossy" if row["lossy"] else "clean",
        ]
    )


def loss_of(row: dict[str, Any]) -> dict[str, str]:
    """Both ways lose packets. The packaged peer corrupts streams when it decodes parity of another
    shape than its own (a fault of its decoder); our end must find that out and send it none."""
    return {"up": LOSS, "down": LOSS} if row["lossy"] else {}


def options(row: dict[str, Any], shape: tuple[int, int]) -> peers.Options:
    return peers.Options(
        crypt=row["crypt"],
        smuxver=row["smuxver"],
        nocomp=row["nocomp"],
        datashard=shape[0],
        parityshard=shape[1],
        io=row["io"],
        workers=row["workers"],
    )


def run_row(row: dict[str, Any], build: Path, directory: Path, load: apps.Load) -> None:
    near, far = row["shapes"]
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(
            build,
            directory,
            target.address,
            (row["ends"][0], options(row, near)),
            (row["ends"][1], options(row, far)),
            mangle=loss_of(row) or None,
        ) as t:
            apps.run_load(t.port, load)
            # before the ends go: a last FIN that got lost makes a rightful reset then
            assert not target.errors, target.errors
            if "ours" in row["ends"]:
                check_counters(row, t, load)


def check_counters(row: dict[str, Any], t: peers.Tunnel, load: apps.Load) -> None:
    """What went through must show, and a sound key never fails a checksum."""
    for kind, process in zip(row["ends"], (t.client, t.server)):
        if kind != "ours":
            continue
        count = process.counters("t")
        assert count["BytesSent"] > load.bulk / (1 if row["nocomp"] else 4), count
        assert count["StreamsOpened"] == load.short_streams + 1, count
        assert count["ProtoErrors"] == 0, count
        if row["crypt"] not in RACY_THERE or "theirs" not in row["ends"]:
            assert count["InCsumErrors"] == 0, count


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        rows = rows_for(metafunc.config.getoption("--matrix"))
        metafunc.parametrize("row", rows, ids=[name_of(r) for r in rows])


def test_pair(
    row: dict[str, Any],
    build: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    io_uring_works: bool,
) -> None:
    if "theirs" in row["ends"]:
        request.getfixturevalue("theirs")
    if row["io"] == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    if request.config.getoption("--matrix") == "ci":
        load = apps.Load(timeout=60)
    else:
        load = apps.Load(bulk=2 << 20, short_streams=20, timeout=60)
    run_row(row, build, tmp_path, load)


@pytest.mark.parametrize("smuxver", (1, 2))
@pytest.mark.parametrize("shape", ((10, 3), (0, 0)))
def test_control(
    theirs: None, smuxver: int, shape: tuple[int, int], build: Path, tmp_path: Path
) -> None:
    """The packaged peer with itself: when this fails, the fault lies in the tests."""
    row = {
        "ends": ("theirs", "theirs"),
        "crypt": "aes",
        "shapes": (shape, shape),
        "nocomp": False,
        "smuxver": smuxver,
        "io": "epoll",
        "workers": 1,
        "lossy": True,
    }
    run_row(row, build, tmp_path, apps.Load(bulk=2 << 20, short_streams=20))


def test_rows_cover_every_pair() -> None:
    rows = pairwise(AXES)
    met = set().union(*(pairs_of(r) for r in rows))
    axes = list(AXES)
    for i, a in enumerate(axes):
        for b in axes[i + 1 :]:
            for x in AXES[a]:
                for y in AXES[b]:
                    assert (a, x, b, y) in met
    assert len(rows) < 110
    assert len({name_of(r) for r in rows_for("ci")}) == len(rows_for("ci"))
