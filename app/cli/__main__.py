"""`python -m app.cli` is the command `pagepool`."""

from app.cli import main

main()
