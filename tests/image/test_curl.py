"""curl as an image's client: ranges, resumed downloads and uploads."""

from pathlib import Path

from tests.harness.area import Area
from tests.image.images import SIZE, content, url_of
from tests.image.programs import needs, run

pytestmark = needs("curl")


def test_ranges(disk: Area, body: bytes, tmp_path: Path) -> None:
    """`curl -r` gets the bytes it asks for."""
    out = tmp_path / "part"
    for range_, first, end in (("0-0", 0, 1), ("4095-12288", 4095, 12289), (f"{SIZE - 7}-", SIZE - 7, SIZE)):
        run("curl", "-fsS", "-r", range_, "-o", out, url_of(disk), cwd=tmp_path)
        assert out.read_bytes() == body[first:end]
    run("curl", "-fsS", "-r", "-1000", "-o", out, url_of(disk), cwd=tmp_path)
    assert out.read_bytes() == body[-1000:]


def test_resumed_download(disk: Area, body: bytes, tmp_path: Path) -> None:
    """`curl -C -` goes on where a download broke off."""
    out = tmp_path / "image"
    out.write_bytes(body[:1_234_567])
    run("curl", "-fsS", "-C", "-", "-o", out, url_of(disk), cwd=tmp_path)
    assert out.read_bytes() == body


def test_upload(area: Area, body: bytes, tmp_path: Path) -> None:
    """`curl -T` puts a file there as the whole image, with `Expect: 100-continue` or without."""
    (tmp_path / "image").write_bytes(body)
    for header in ("Expect:", "Expect: 100-continue"):
        run("curl", "-fsS", "-H", header, "-T", "image", url_of(area), cwd=tmp_path)
        assert content(area) == body
    assert area.show()["configuration"]["image_bytes"] == len(body)


def test_upload_from_a_pipe(area: Area, body: bytes, tmp_path: Path) -> None:
    """`curl -T -` sends it in chunks, of a length that nobody knows before."""
    run("curl", "-fsS", "-T", "-", url_of(area), cwd=tmp_path, input_=body)
    assert content(area) == body


def test_resumed_upload(disk: Area, body: bytes, tmp_path: Path) -> None:
    """`curl -C OFFSET -T` writes the rest of a file from that offset on, and nothing before it."""
    new = bytes(byte ^ 0x55 for byte in body)
    (tmp_path / "image").write_bytes(new)
    run("curl", "-fsS", "-C", "2345678", "-T", "image", url_of(disk), cwd=tmp_path)
    assert content(disk) == body[:2345678] + new[2345678:]


def test_a_refusal_is_seen(disk: Area, body: bytes, tune, tmp_path: Path) -> None:
    """An upload that a full pool refuses fails, and says why."""
    tune(max_pool_bytes=1)
    (tmp_path / "image").write_bytes(body)
    printed = run("curl", "-sS", "-T", "image", "-w", "%{http_code}", url_of(disk), cwd=tmp_path)
    assert "pool_full" in printed
    assert printed.endswith("507")
    assert content(disk) == body
