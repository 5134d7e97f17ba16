from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path

from app.cli.costs import recommended_limit, survey
from app.cli.size_plot import draw
from app.page.codec import Encoder
from app.settings import CompressorName

SIZE = 4096


def test_costs_are_what_the_page_engine_stores(tmp_path: Path, mixed_pages: bytes) -> None:
    """The bytes told for lz4, lz4hc and zstd are those that the pool would count."""
    file = tmp_path / "in"
    file.write_bytes(mixed_pages)
    found = survey(file, SIZE, 0)
    assert (found.pages, found.tried) == (1500, 1500)
    for cost in found.costs:
        if cost.setting is not None:
            encoder = Encoder(SIZE, CompressorName(cost.setting))
            pages = [mixed_pages[i * SIZE : (i + 1) * SIZE] for i in range(1500)]
            assert cost.pool_bytes == sum(encoder.encode(page, 1, 0).stored_length for page in pages)
    assert sum(found.sizes) == found.costs[0].pool_bytes


def test_a_sample_speaks_for_the_whole(tmp_path: Path) -> None:
    """With fewer pages tried than there are, numbers are scaled."""
    file = tmp_path / "in"
    file.write_bytes((os.urandom(SIZE) + bytes(SIZE)) * 500)
    found = survey(file, SIZE, 100)
    assert (found.pages, found.tried) == (1000, 100)
    assert abs(found.scaled(found.zero) - 500) < 150


def test_the_limit_has_headroom() -> None:
    """Ten per cent over what is needed, in whole MiB."""
    assert recommended_limit(10 << 20) == 11 << 20
    assert recommended_limit(0) == 0


def test_the_plot_is_well_formed() -> None:
    """The drawing is XML, names what it shows, and has a bar for pages that did not shrink."""
    svg = draw([100, 4105, 17], SIZE, "a <file> & more")
    root = ET.fromstring(svg)
    assert "a <file> & more" in root.attrib["aria-label"]
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 33
