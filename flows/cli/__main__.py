"""`python -m flows.cli` is `foundry`, for our own subprocesses."""

from flows.cli.main import main

main()
