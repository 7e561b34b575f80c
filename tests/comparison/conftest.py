"""Fixtures of comparisons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autosim.comparison import compare as comparing
from tests.comparison.comparison_toy import install_comparison_toy
from tests.support.toy import ROOT, install_toy


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory, blank_pictures: None) -> Iterator[None]:
    """The toy packages within reach; nothing is imported ahead of the first run, for it takes seconds."""
    site = tmp_path_factory.mktemp("site")
    environment = install_toy(site)
    install_comparison_toy(site)
    with pytest.MonkeyPatch.context() as patch:
        for folder in (ROOT, ROOT / "tests" / "toy_package", site):
            patch.syspath_prepend(str(folder))
        patch.setenv("AUTOSIM_CACHE", environment["AUTOSIM_CACHE"])
        patch.setattr(comparing, "import_libraries", None)
        yield
