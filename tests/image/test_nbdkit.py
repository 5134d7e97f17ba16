"""The image as a network block device: nbdkit's curl plugin in between, libnbd, QEMU and fio on it."""

import json
import shlex
from pathlib import Path

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.image.images import SIZE, content, put_whole, url_of
from tests.image.programs import needs, needs_fio_nbd, needs_nbdkit_curl, run, under_nbdkit

pytestmark = needs_nbdkit_curl()
EXT4_BYTES = 24 << 20


@needs("nbdinfo")
def test_info(disk: Area, tmp_path: Path) -> None:
    """`nbdinfo` knows the size, and that it can be written."""
    told = json.loads(under_nbdkit(url_of(disk), 'nbdinfo --json "$uri"', tmp_path))["exports"][0]
    assert (told["export-size"], told["is_read_only"]) == (SIZE, False)


@needs("nbdcopy")
def test_copy_in_and_out(area: Area, body: bytes, tmp_path: Path) -> None:
    """`nbdcopy` in and out again gives the same bytes; holes of the file are holes of the image."""
    (tmp_path / "in").write_bytes(body)
    area.configure(image_bytes=SIZE)
    under_nbdkit(url_of(area), 'nbdcopy in "$uri" && nbdcopy "$uri" out', tmp_path)
    assert (tmp_path / "out").read_bytes() == body
    assert content(area) == body
    padded = body + bytes(-SIZE % 4096)
    assert area.numbers()["stored_pages"] == sum(any(page) for page in pages.split(padded))


@needs("qemu-io")
def test_qemu_io_writes(disk: Area, body: bytes, tmp_path: Path) -> None:
    """What `qemu-io` writes at any sector is there, and nothing else changed."""
    expected = bytearray(body)
    commands = []
    for sector, sectors, pattern in ((0, 1, 0x71), (7, 2, 0x72), (1003, 4099, 0x73), (SIZE // 512 - 1, 1, 0x74)):
        start, length = sector * 512, sectors * 512
        expected[start : start + length] = bytes([pattern]) * length
        commands += [f"-c 'write -P {pattern} {start} {length}'", f"-c 'read -P {pattern} {start} {length}'"]
    printed = under_nbdkit(url_of(disk), f'qemu-io -f raw {" ".join(commands)} "$uri"', tmp_path)
    assert "failed" not in printed
    assert content(disk) == bytes(expected)


@needs("qemu-io")
def test_a_full_pool_is_an_error_of_the_device(disk: Area, body: bytes, tune, tmp_path: Path) -> None:
    """A write that a full pool refuses fails on the device, and every byte is as it was."""
    tune(max_pool_bytes=1)
    under_nbdkit(url_of(disk), "qemu-io -f raw -c 'write -P 0x77 5120 9728' \"$uri\"", tmp_path, status=1)
    assert content(disk) == body


@needs("mke2fs", "e2fsck", "nbdcopy")
def test_a_file_system(area: Area, tmp_path: Path) -> None:
    """An ext4 goes in and comes out again sound, with its files in it."""
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    for index, page in enumerate(pages.mixed(50, seed=5)):
        (tree / "deep" / "er" / f"file-{index}").write_bytes(page * (1 + index % 7))
    run("mke2fs", "-q", "-t", "ext4", "-d", tree, "in.ext4", f"{EXT4_BYTES >> 10}k", cwd=tmp_path)
    area.configure(image_bytes=EXT4_BYTES)
    under_nbdkit(url_of(area), 'nbdcopy in.ext4 "$uri" && nbdcopy "$uri" out.ext4', tmp_path)
    assert (tmp_path / "out.ext4").read_bytes() == (tmp_path / "in.ext4").read_bytes()
    run("e2fsck", "-fn", "out.ext4", cwd=tmp_path)
    assert area.numbers()["pool_bytes"] < EXT4_BYTES // 4


@needs_fio_nbd()
@pytest.mark.smoke
def test_fio_verifies(area: Area, tmp_path: Path) -> None:
    """Fio reads and writes at random with a checksum in each block, reads all that back, and finds no error."""
    area.configure(image_bytes=8 << 20)
    options = [
        *("--name=verify", "--ioengine=nbd", "--rw=randrw", "--bsrange=512-64k", "--bs_unaligned=0"),
        *("--size=8m", "--io_size=4m", "--iodepth=8", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"),
        *("--randseed=7", "--output-format=json", "--output=fio.json"),
    ]
    under_nbdkit(url_of(area), f'fio {shlex.join(options)} --uri="$uri"', tmp_path)
    [job] = json.loads((tmp_path / "fio.json").read_text())["jobs"]
    assert job["error"] == 0
    assert job["write"]["io_bytes"] > 1 << 20
    assert job["read"]["io_bytes"] > job["write"]["io_bytes"]


@needs("qemu-img", "nbdcopy")
def test_qcow2_inside(area: Area, tmp_path: Path) -> None:
    """The bytes may be an image of their own: a qcow2 is stored, served and found sound."""
    (tmp_path / "in.raw").write_bytes(b"".join(pages.real(512)))
    run("qemu-img", "convert", "-O", "qcow2", "in.raw", "in.qcow2", cwd=tmp_path)
    put_whole(area, (tmp_path / "in.qcow2").read_bytes())
    under_nbdkit(url_of(area), 'qemu-img check -f qcow2 "$uri"', tmp_path)
    under_nbdkit(url_of(area), 'qemu-img compare -f qcow2 -F raw "$uri" in.raw', tmp_path)
