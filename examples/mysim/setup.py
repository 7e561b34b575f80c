from setuptools import setup

setup(
    name="mysim",
    version="0.1",
    packages=["mysim"],
    install_requires=["autosim-engine"],
    entry_points={
        "autosim.envs": ["disc = mysim.disc:Disc"],
        "autosim.algorithms": ["climb = mysim.climb:Climb"],
    },
)
