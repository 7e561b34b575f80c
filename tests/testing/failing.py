"""Which tests of a conformance suite fail."""

from __future__ import annotations


def failures(suite: object) -> list[str]:
    """Names of the suite's tests that do not pass."""
    failed = []
    for name in [name for name in dir(suite) if name.startswith("test_")]:
        try:
            getattr(suite, name)()
        except Exception:
            failed.append(name)
    return failed
