"""`python -m flows` is `clearwater`."""

from flows.cli import main

main()
