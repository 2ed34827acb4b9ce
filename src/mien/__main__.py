"""`python -m mien`."""

from mien.cli import main

main()
