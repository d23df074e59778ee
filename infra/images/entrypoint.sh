#!/bin/sh
# For every variable NAME_FILE that names a file under /run/secrets, export NAME with the file's text, then run the
# command. Variables for PEM files are kept: programs read certificates from the file. Secrets stay in files (compose secrets,
# Kubernetes secret volumes): never in an image, a manifest or `docker inspect`.
set -eu

folder=${SECRETS_FOLDER:-/run/secrets}
for variable in $(env | sed -n "/\.pem\$/d; s|^\([A-Za-z_][A-Za-z0-9_]*\)_FILE=${folder}/.*|\1|p"); do
    file=$(printenv "${variable}_FILE")
    if [ ! -r "$file" ]; then
        echo "entrypoint: ${variable}_FILE: cannot read $file; is the secret mounted and readable by user $(id -u)?" >&2
        exit 1
    fi
    value=$(cat "$file")
    export "${variable}=${value}"
    unset "${variable}_FILE"
done

exec "$@"
