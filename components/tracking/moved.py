"""A checkout that was moved or renamed keeps its artifacts: MLflow's sqlite file has absolute paths of them."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

ARTIFACTS = "mlartifacts"  # the folder beside the sqlite file
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow_move(database: Path) -> None:
    """Replace the old folder in the paths of `database` if its artifacts came along to the folder that it is in now."""
    here = database.resolve().parent / ARTIFACTS
    if not (database.is_file() and here.is_dir()):
        return
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for old in _former_places(connection, here):
            for table, column in COLUMNS:
                new_value = f"? || substr({column}, ?)"
                connection.execute(
                    f"UPDATE {table} SET {column} = {new_value} WHERE substr({column}, 1, ?) = ?",
                    (here.as_uri(), len(old) + 1, len(old), old),
                )
            print(f"warning: the checkout was moved from {old}: MLflow's artifact paths follow it", file=sys.stderr)


def _former_places(connection: sqlite3.Connection, here: Path) -> list[str]:
    """Artifact folders of this file's experiments that are beside a sqlite file in another folder."""
    try:
        rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    except sqlite3.DatabaseError:  # no tables yet, or damaged: MLflow itself reports it
        return []
    places = [str(place) for (place,) in rows if str(place).startswith("file:")]
    return [place for place in places if place.endswith(f"/{ARTIFACTS}") and place != here.as_uri()]
