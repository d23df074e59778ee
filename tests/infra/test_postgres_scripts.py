"""Backup and restore of both databases, and rotated database passwords, against a real Postgres."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.make_secrets import make_secrets
from tests.infra.local_stack import LocalStack, postgres_programs

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(postgres_programs() is None, reason="no Postgres programs (initdb) on this machine"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalStack]:
    """Postgres alone, with the databases and roles that compose makes."""
    folder = Path(tempfile.mkdtemp(prefix="foundry-postgres-"))
    folder.chmod(0o755)
    stack = LocalStack(folder, "postgres")
    try:
        stack.start_postgres()
        yield stack
    finally:
        for name in list(stack.processes):
            stack.stop(name)
        shutil.rmtree(folder)


def psql(server: LocalStack, database: str, sql: str, user: str = "postgres", secret: str = "postgres_password") -> str:
    """Output of one statement; raises CalledProcessError where Postgres refuses."""
    env = {**server.postgres_environment(), "PGUSER": user, "PGPASSWORD": server.secret(secret)}
    command = ["psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-Atq", "-c", sql, database]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def fill(server: LocalStack, database: str, value: str) -> None:
    """A table owned by the database's own role, as the servers make them."""
    statement = (
        f"DROP TABLE IF EXISTS runs; CREATE TABLE runs AS SELECT '{value}' AS name, generate_series(1, 100) AS n"
    )
    psql(server, database, statement, user=database, secret=f"{database}_db_password")


def folders(backups: Path) -> list[str]:
    return sorted(path.name for path in backups.iterdir())


@pytest.mark.slow
def test_a_backup_restores_what_was_there(server: LocalStack, tmp_path: Path) -> None:
    for database in ("mlflow", "prefect"):
        fill(server, database, "before")
    server.run_postgres_script("backup.sh", str(tmp_path))
    for database in ("mlflow", "prefect"):
        fill(server, database, "after")
        psql(server, database, "CREATE TABLE newer (n int)")
    (stamp,) = folders(tmp_path)
    output = server.run_postgres_script("restore.sh", str(tmp_path / stamp)).stdout
    assert output.count("is back") == 2
    for database in ("mlflow", "prefect"):
        owner = {"user": database, "secret": f"{database}_db_password"}
        assert psql(server, database, "SELECT name, count(*) FROM runs GROUP BY name", **owner) == "before|100"
        assert psql(server, database, "SELECT to_regclass('newer')") == ""
        replaced = psql(server, "postgres", f"SELECT datname FROM pg_database WHERE datname ~ '^{database}_before'")
        assert psql(server, replaced, "SELECT DISTINCT name FROM runs") == "after"
        psql(server, "postgres", f"DROP DATABASE {replaced}")


@pytest.mark.slow
def test_restore_refuses_a_damaged_backup(server: LocalStack, tmp_path: Path) -> None:
    fill(server, "mlflow", "kept")
    server.run_postgres_script("backup.sh", str(tmp_path))
    (stamp,) = folders(tmp_path)
    with (tmp_path / stamp / "mlflow.dump").open("r+b") as dump:
        dump.seek(200)
        dump.write(b"\0\1\2\3")
    done = server.run_postgres_script("restore.sh", str(tmp_path / stamp), check="no")
    assert done.returncode != 0
    assert "mlflow.dump: FAILED" in done.stdout + done.stderr
    assert psql(server, "mlflow", "SELECT DISTINCT name FROM runs") == "kept"


@pytest.mark.slow
def test_restore_refuses_while_a_server_is_connected(server: LocalStack, tmp_path: Path) -> None:
    server.run_postgres_script("backup.sh", str(tmp_path))
    (stamp,) = folders(tmp_path)
    env = {**server.postgres_environment(), "PGPASSWORD": server.secret("postgres_password")}
    command = ["psql", "--no-psqlrc", "-Atq", "-c", "SELECT 1; SELECT pg_sleep(60)", "mlflow"]
    connected = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, start_new_session=True)
    try:
        while psql(server, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'mlflow'") == "0":
            assert connected.poll() is None
        done = server.run_postgres_script("restore.sh", str(tmp_path / stamp), check="no")
    finally:
        connected.kill()
        connected.wait()
        psql(server, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'mlflow'")
    assert done.returncode == 1
    assert "stop the mlflow and prefect services first" in done.stderr


@pytest.mark.slow
def test_old_backups_go_and_unfinished_ones_are_not_left(server: LocalStack, tmp_path: Path) -> None:
    for old in ("20200101T000000Z", "20200102T000000Z", "20200103T000000Z"):
        (tmp_path / old).mkdir()
    (tmp_path / "notes").mkdir()
    server.run_postgres_script("backup.sh", str(tmp_path), KEEP="2")
    kept = folders(tmp_path)
    assert kept[0] == "20200103T000000Z"
    assert len(kept) == 3
    assert kept[-1] == "notes"
    done = server.run_postgres_script("backup.sh", str(tmp_path), PGPORT="1", check="no")
    assert done.returncode != 0
    assert [name for name in folders(tmp_path) if name.startswith(".unfinished")] == []


@pytest.mark.slow
def test_neither_role_opens_the_others_database(server: LocalStack) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        psql(server, "prefect", "SELECT 1", user="mlflow", secret="mlflow_db_password")
    assert "permission denied" in refused.value.stderr


@pytest.mark.slow
def test_roles_script_sets_a_rotated_password(server: LocalStack) -> None:
    before = server.secret("mlflow_db_password")
    make_secrets(server.secrets, ("mlflow_db_password",))
    assert server.secret("mlflow_db_password.old") == before
    with pytest.raises(subprocess.CalledProcessError):
        psql(server, "mlflow", "SELECT 1", user="mlflow", secret="mlflow_db_password")
    server.run_postgres_script("roles.sh")
    assert psql(server, "mlflow", "SELECT 1", user="mlflow", secret="mlflow_db_password") == "1"
    with pytest.raises(subprocess.CalledProcessError):
        psql(server, "mlflow", "SELECT 1", user="mlflow", secret="mlflow_db_password.old")


@pytest.mark.slow
def test_no_password_reaches_the_servers_log(server: LocalStack) -> None:
    log = (server.folder / "postgres.log").read_text()
    assert server.secret("mlflow_db_password") not in log
    assert server.secret("postgres_password") not in log
