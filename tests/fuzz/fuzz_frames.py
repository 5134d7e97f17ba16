"""Atheris target over the frame parser: python -m tests.fuzz.fuzz_frames [-runs=N] [-max_total_time=S] [CORPUS]."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["app.page"]):
    from tests.fuzz.parser_rules import parse_or_refuse


def one_input(data: bytes) -> None:
    """Any exception that gets out of here is a finding."""
    parse_or_refuse(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
