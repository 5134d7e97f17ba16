"""QEMU's own HTTP driver as an image's client."""

import json
from pathlib import Path

from tests.harness.area import Area
from tests.image.images import SIZE, url_of
from tests.image.programs import needs, needs_qemu_http, run

pytestmark = [needs_qemu_http(), needs("qemu-img", "qemu-io")]


def address(area: Area) -> str:
    """The image as QEMU is told of it."""
    return "json:" + json.dumps({"driver": "raw", "file": {"driver": "http", "url": url_of(area)}})


def test_info(disk: Area, tmp_path: Path) -> None:
    """`qemu-img info` knows the size."""
    told = json.loads(run("qemu-img", "info", "--output=json", "-f", "raw", url_of(disk), cwd=tmp_path))
    assert (told["virtual-size"], told["format"]) == (SIZE, "raw")


def test_convert_and_compare(disk: Area, body: bytes, tmp_path: Path) -> None:
    """`qemu-img convert` copies the bytes out, raw and as qcow2; `qemu-img compare` finds the copies identical."""
    # -m 1: with several requests at once the driver of QEMU 7.2 hangs now and then, on any server.
    run("qemu-img", "convert", "-m", "1", "-f", "raw", "-O", "raw", url_of(disk), "out.raw", cwd=tmp_path)
    assert (tmp_path / "out.raw").read_bytes() == body
    run("qemu-img", "convert", "-m", "1", "-O", "qcow2", address(disk), "out.qcow2", cwd=tmp_path)
    for copy, format_ in (("out.raw", "raw"), ("out.qcow2", "qcow2")):
        printed = run("qemu-img", "compare", "-f", "raw", "-F", format_, url_of(disk), copy, cwd=tmp_path)
        assert "identical" in printed


def test_compare_sees_a_difference(disk: Area, body: bytes, tmp_path: Path) -> None:
    """One byte that differs is found."""
    other = bytearray(body)
    other[4_000_001] ^= 1
    (tmp_path / "other").write_bytes(other)
    printed = run("qemu-img", "compare", "-f", "raw", url_of(disk), "other", cwd=tmp_path, status=1)
    assert "mismatch at offset" in printed


def test_reads_at_odd_places(area: Area, tmp_path: Path) -> None:
    """`qemu-io` reads what lies there, wherever it asks."""
    area.configure(image_bytes=SIZE)
    marks = ((1, 3000, 0x11), (4095, 2, 0x22), (5_000_001, 70_001, 0x33), (SIZE - 512, 512, 0x44))
    for start, length, pattern in marks:
        headers = {"Content-Range": f"bytes {start}-/*"}
        assert area.client.put(area.image, content=bytes([pattern]) * length, headers=headers).status_code == 204
    # The second lies on the first's page, but behind it.
    reads = [f"read -P {pattern} {start} {length}" for start, length, pattern in marks]
    reads += ["read -P 0 3001 1094", "read -P 0 4097 1000000", f"read -P 0 5070002 {SIZE - 512 - 5070002}"]
    printed = run("qemu-io", "-r", *[part for each in reads for part in ("-c", each)], address(area), cwd=tmp_path)
    assert "Pattern verification failed" not in printed
    assert printed.count("bytes at offset") == len(reads)
