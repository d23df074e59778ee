#!/bin/bash
# Dump both databases to FOLDER/<UTC time>/, check that the dumps read back, keep the newest KEEP (14) folders.
# usage: backup.sh FOLDER      (connection: PGHOST, PGPORT, PGUSER and PGPASSWORD, or PGPASSWORD_FILE)
set -euo pipefail
umask 077

if [ $# -ne 1 ]; then
    echo "usage: backup.sh FOLDER" >&2
    exit 2
fi
if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi

stamp=$(date -u +%Y%m%dT%H%M%SZ)
unfinished="$1/.unfinished-$stamp"
mkdir -p "$unfinished"
trap 'rm -rf "$unfinished"' EXIT

for database in mlflow prefect; do
    pg_dump --format=custom --no-owner --file "$unfinished/$database.dump" "$database"
    pg_restore --list "$unfinished/$database.dump" > /dev/null
done
(cd "$unfinished" && sha256sum ./*.dump > SHA256SUMS)
mv "$unfinished" "$1/$stamp"
echo "backup: $1/$stamp ($(du -sh "$1/$stamp" | cut -f1))"

# Names sort by time, so the oldest come first.
find "$1" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*Z' | sort | head -n "-${KEEP:-14}" | while read -r old; do
    rm -r "$old"
    echo "backup: removed $old"
done
