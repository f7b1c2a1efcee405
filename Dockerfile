# docker build --target serve -t tahoe-distill:serve .            embeds cells; CPU
# docker build --target train-cpu -t tahoe-distill:train-cpu .    distils and evaluates; CPU
# docker build --target train -t tahoe-distill:train .            distils; NVIDIA GPUs
#
# docker run --rm -v "$PWD:/data" tahoe-distill:serve embed --model student --adata cells.h5ad --out embedded.h5ad
# docker run --rm --gpus all --ipc host tahoe-distill:train composer scripts/distill.py -f configs/70m.yaml
#
# Docs: docs/containers.md, with sizes.

FROM python:3.11-slim-bookworm AS python
LABEL org.opencontainers.image.title="tahoe-distill" \
      org.opencontainers.image.description="Distil Tahoe-x1 single-cell foundation models into small students" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# Where wheels of torch without CUDA are.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /app
COPY constraints.txt ./
RUN pip install -c constraints.txt --index-url "$TORCH_INDEX" torch
COPY setup.py pyproject.toml README.md LICENSE NOTICE ./
COPY tahoe_distill tahoe_distill

FROM python AS serve
RUN pip install -c constraints.txt . \
    && useradd --create-home --uid 1000 tahoe
USER 1000
WORKDIR /data
HEALTHCHECK --interval=5m --timeout=30s CMD ["tahoe-distill", "doctor", "--help"]
ENTRYPOINT ["tahoe-distill"]
CMD ["--help"]

FROM python AS train-cpu
# torch.compile wants a compiler. Debian keeps one version of a package at a time, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN pip install -c constraints.txt -e '.[train,fit,evaluate]'
COPY configs configs
COPY scripts scripts
HEALTHCHECK --interval=5m --timeout=30s CMD ["tahoe-distill", "doctor", "--help"]
CMD ["tahoe-distill", "--help"]

# torch's wheels bring the libraries of CUDA; the driver comes from the machine. Python 3.12 is Ubuntu's.
FROM nvidia/cuda:12.6.3-base-ubuntu24.04 AS train
LABEL org.opencontainers.image.title="tahoe-distill" \
      org.opencontainers.image.description="Distil Tahoe-x1 single-cell foundation models into small students" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# Built for the torch of constraints.txt (2.7, C++11 ABI) and Python 3.12; to build it takes an hour and CUDA's compiler.
ARG FLASH_ATTN=https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.7cxx11abiTRUE-cp312-cp312-linux_x86_64.whl
WORKDIR /app
COPY constraints.txt ./
RUN pip install -c constraints.txt torch einops "$FLASH_ATTN"
COPY setup.py pyproject.toml README.md LICENSE NOTICE ./
COPY tahoe_distill tahoe_distill
RUN pip install -c constraints.txt -e '.[gpu,fit,evaluate]'
COPY configs configs
COPY scripts scripts
HEALTHCHECK --interval=5m --timeout=30s CMD ["tahoe-distill", "doctor", "--help"]
CMD ["tahoe-distill", "--help"]
