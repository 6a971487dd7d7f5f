"""Keep OpenSSL out of a process that speaks no TLS: 5 MB of the daemon's 45 (`make bench`)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

_OPENSSL = ("_ssl", "_hashlib")


def import_without_openssl() -> None:
    """Import what would load OpenSSL, and does well without it: asyncio and hashlib.

    A later `import ssl` works as ever. Nothing is done where a Python has no SHA-256 of its own.
    """
    if find_spec("_sha256") or find_spec("_sha2"):
        with _absent(*_OPENSSL):
            import_module("hashlib")
            import_module("asyncio")


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let an import of these modules fail, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]  # None is what import takes for "there is none"
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
