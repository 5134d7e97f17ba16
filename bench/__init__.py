"""Side-by-side measurements against peers and against the limit: `make bench`, or `python -m bench --help`.

    python -m bench                         everything
    python -m bench --quick                 everything, short rounds and small pools
    python -m bench --only singles,extents  some sections

    singles   one page a request, against webdis and a naive version
    extents   512 pages a request, plain and in frames, against webdis and against bare LZ4
    snapshot  an image in and out, against nbdcopy and nbdkit memory
    engine    the page engine without HTTP and Redis: the zero-page patch's own table
    memory    Redis bytes a page, against zram
    growth    load and store among 10^4, 10^5, 10^6 pages
    latency   percentiles at half of the top rate, and beside a stream of extents
    disk      an image read through nbdkit curl, against nginx and nbdkit memory

All peers of a section run at once and are measured in turn (A B C, A B C, …); a ratio is the median of the rounds'
own ratios, so that a machine whose speed drifts does not bend it. A peer that is not installed is named, and its rows
are left out. Results go to bench/results/: results.json, results.txt, and an SVG a section.
"""

import importlib.util
import sys
from pathlib import Path

# The client is measured as it stands in this checkout, also where it is not installed.
if importlib.util.find_spec("pagepool_client") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "client"))
