"""Great Expectations, imported at half its usual cost and without its telemetry."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

from warehouse.imports import garbage_collection_paused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# Both serve expectations that no rule compiles to; together half a CPU second to import.
_SELDOM_USED = frozenset({"scipy.stats", "altair"})


class _LazyFinder(MetaPathFinder):
    """Finds the seldom used modules as usual, but runs them at their first attribute access."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _SELDOM_USED:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec), None)
        if spec and spec.loader:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def load_great_expectations() -> None:
    """Import Great Expectations once, economically; later calls cost nothing."""
    if "great_expectations" in sys.modules:
        return
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with _seldom_used_modules_lazy(), garbage_collection_paused():
        import great_expectations.expectations  # noqa: F401
    gc.freeze()


@contextmanager
def _seldom_used_modules_lazy() -> Iterator[None]:
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
