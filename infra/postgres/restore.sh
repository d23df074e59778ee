#!/bin/bash
# Restore both databases from one folder that backup.sh made. Each dump is loaded into a new database first, which
# then takes the old one's name; the old one stays as <name>_before_<UTC time> until you drop it.
# usage: restore.sh FOLDER/<UTC time>      (connection as in backup.sh, as a superuser; stop MLflow and Prefect first)
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: restore.sh FOLDER/<UTC time>" >&2
    exit 2
fi
if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi
(cd "$1" && sha256sum --check --quiet SHA256SUMS)

sql() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname postgres "$@"
}

stamp=$(date -u +%Y%m%dt%H%M%Sz)
for database in mlflow prefect; do
    busy=$(sql --command "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'")
    if [ "$busy" != 0 ]; then
        echo "restore: $busy connections are open to $database; stop the mlflow and prefect services first" >&2
        exit 1
    fi
done
for database in mlflow prefect; do
    sql --command "DROP DATABASE IF EXISTS ${database}_restoring" \
        --command "CREATE DATABASE ${database}_restoring OWNER $database"
    pg_restore --no-owner --role "$database" --exit-on-error --single-transaction \
        --dbname "${database}_restoring" "$1/$database.dump"
done
for database in mlflow prefect; do
    sql --single-transaction \
        --command "ALTER DATABASE $database RENAME TO ${database}_before_$stamp" \
        --command "ALTER DATABASE ${database}_restoring RENAME TO $database" \
        --command "REVOKE ALL ON DATABASE $database FROM PUBLIC"
    echo "restore: $database is back; the replaced one is ${database}_before_$stamp"
done
