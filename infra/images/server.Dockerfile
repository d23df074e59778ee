# The servers (MLflow, Prefect, bootstrap) and the Kubernetes worker: no torch, no project code, about a quarter of the size.
FROM python:3.11.14-slim-bookworm

# Debian's mirrors drop old versions, so a pinned one breaks the next build; the base image's tag is the pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 foundry \
    && useradd --uid 10001 --gid foundry --create-home foundry

ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY constraints.txt /tmp/constraints.txt
# The ranges that keep Prefect alive (fastapi, sqlalchemy) are in constraints.txt as exact versions.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install -c /tmp/constraints.txt \
       "mlflow[auth]" prefect prefect-docker prefect-kubernetes asyncpg psycopg2-binary boto3 \
    && /opt/venv/bin/pip check

COPY infra/images/entrypoint.sh /usr/local/bin/with-secrets
COPY infra/bootstrap.py infra/work-pools.yaml infra/mlflow/basic_auth.ini /opt/foundry/

USER 10001:10001
WORKDIR /home/foundry
ENTRYPOINT ["tini", "--", "with-secrets"]
CMD ["prefect", "version"]
