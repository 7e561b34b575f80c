from setuptools import setup

setup(
    name="bprocsim",
    version="0.1",
    packages=["bprocsim"],
    package_data={"bprocsim": ["pyramid.obj"]},
    install_requires=["autosim-engine"],
    entry_points={"autosim.envs": ["pyramid = bprocsim.pyramid:Pyramid"]},
)
