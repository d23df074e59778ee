"""A Prefect server on loopback for one command, when none is configured."""

from pathlib import Path

from components.base.daemon import HOST, Server, free_port


def temporary_prefect(cache: Path) -> tuple[Server, str]:
    """Start a server with its log below the folder `cache`; returns it with its API's address.

    It is like Prefect's own ephemeral server (no UI, no scheduler), but it also ends when this process is killed.
    """
    import prefect

    port = free_port()
    address = f"http://{HOST}:{port}/api"
    command = ["uvicorn", "--app-dir", str(Path(prefect.__file__).parents[1])]
    command += ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    command += ["--host", HOST, "--port", str(port), "--log-level", "error"]
    env = {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_API_URL": address,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    return Server("Prefect", command, env, cache / "logs" / "prefect-temporary.log", f"{address}/health"), address
