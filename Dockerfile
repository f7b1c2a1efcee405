# docker build -t tahoe-distill . && docker run --rm --gpus all -v "$PWD/runs:/app/runs" tahoe-distill \
#     python scripts/quickstart.py
# Torch's wheels bring their own CUDA libraries, so a plain Python image is enough, with a GPU or without.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY tahoe_distill tahoe_distill
RUN pip install --no-cache-dir -c constraints.txt -e '.[train]'
COPY configs configs
COPY scripts scripts
CMD ["tahoe-distill", "--help"]
