"""Keep connections to this machine away from a configured proxy (HTTP_PROXY without NO_PROXY)."""

import os

LOOPBACK = ("127.0.0.1", "localhost")


def keep_loopback_direct() -> None:
    """Add loopback to NO_PROXY of this process and its children; MLflow, Prefect and urllib read it."""
    known = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    either = known["NO_PROXY"] or known["no_proxy"] or ""
    for name, own in known.items():
        stated = [host.strip() for host in (either if own is None else own).split(",")]
        if "*" not in stated:
            os.environ[name] = ",".join([*filter(None, stated), *(host for host in LOOPBACK if host not in stated)])
