# Pipeline on an NVIDIA GPU: the same commands as cpu.Dockerfile. torch's wheel and constraints.txt bring CUDA 13,
# the host brings the driver (NVIDIA container toolkit). gcc is there for Triton, which FlexAttention compiles with.
FROM python:3.11.14-slim-bookworm

# Debian's mirrors drop old versions, so a pinned one breaks the next build; the base image's tag is the pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 foundry \
    && useradd --uid 10001 --gid foundry --create-home foundry

ENV PATH=/opt/venv/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
# Dependencies before code: an edit of the code rebuilds seconds, not gigabytes.
RUN mkdir components flows \
    && touch components/__init__.py flows/__init__.py \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install -c constraints.txt -e '.[dask,infra,qlora,workers]' \
    && /opt/venv/bin/pip check \
    && /opt/venv/bin/python -c "import torch; assert torch.version.cuda, 'pip took a CPU wheel: clear its extra indexes'"

COPY . .
COPY infra/images/entrypoint.sh /usr/local/bin/with-secrets
COPY infra/images/remote_run.sh /usr/local/bin/remote-run
COPY infra/images/several_nodes.sh /usr/local/bin/several-nodes

USER 10001:10001
ENTRYPOINT ["tini", "--", "with-secrets"]
CMD ["foundry", "--help"]
