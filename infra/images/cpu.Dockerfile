# Pipeline on CPU: worker, Dask, jobs of the Docker and Kubernetes pools.
# Same commands as on a laptop: a venv, then `pip install -c constraints.txt -e '.[...]'`.
# PyPI's torch for Linux carries CUDA; to leave that out (3 GB less) name PyTorch's index of CPU wheels:
#   docker build -f infra/images/cpu.Dockerfile --build-arg PIP_EXTRA_INDEX_URL=<index> .
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

WORKDIR /app
ARG PIP_EXTRA_INDEX_URL=""
COPY pyproject.toml constraints.txt README.md ./
# Dependencies before code: an edit of the code rebuilds seconds, not gigabytes.
RUN mkdir components flows \
    && touch components/__init__.py flows/__init__.py \
    && python -m venv /opt/venv \
    && PIP_EXTRA_INDEX_URL="$PIP_EXTRA_INDEX_URL" /opt/venv/bin/pip install -c constraints.txt -e '.[dask,infra,workers]' \
    && /opt/venv/bin/pip check

COPY . .
COPY infra/images/entrypoint.sh /usr/local/bin/with-secrets
COPY infra/images/remote_run.sh /usr/local/bin/remote-run

USER 10001:10001
ENTRYPOINT ["tini", "--", "with-secrets"]
CMD ["foundry", "--help"]
