#!/bin/bash
# One role and one database each for MLflow and Prefect, with the passwords of /run/secrets; neither can open the
# other's database. Runs when the data folder is empty, and again by hand to set a rotated password.
set -euo pipefail

folder=${SECRETS_FOLDER:-/run/secrets}
for name in mlflow prefect; do
    PASSWORD_FILE="${folder}/${name}_db_password" \
        psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
        --set name="$name" <<'SQL'
\set password `cat "$PASSWORD_FILE"`
SELECT format('CREATE ROLE %I LOGIN', :'name')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
    echo "roles: $name ready"
done
