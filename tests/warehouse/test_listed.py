"""What is noted as taken: only what a run has loaded, or has told why not."""

from __future__ import annotations

from shop import Shop

from warehouse.ingest import land_sources
from warehouse.listed import signatures, taken
from warehouse.places import standing
from warehouse.sources import Source, load_sources

ONE = "id,amount\n1,10\n"


def source(shop: Shop) -> Source:
    return load_sources(shop.folder / "sources.yml", shop.settings)[0]


def test_what_is_loaded_is_taken(shop: Shop) -> None:
    shop.put("id,amount\n2,20\n", "orders-2.csv")
    shop.send(ONE)
    found = signatures(standing(source(shop)))
    assert taken(shop.settings) == {"shop.orders": sorted(found.values())}
    assert len(set(found.values())) == 2


def test_refused_file_is_taken(shop: Shop) -> None:
    assert shop.send("id,amount\nnone,of it\n", tolerance=0).problems
    assert taken(shop.settings)["shop.orders"]


def test_what_only_landed_is_not_taken(shop: Shop) -> None:
    shop.send(ONE)
    before = taken(shop.settings)
    shop.put("id,amount\n2,20\n", "orders-2.csv")
    land_sources(shop.settings, [source(shop)])
    assert taken(shop.settings) == before
    shop.load()
    assert taken(shop.settings) != before


def test_file_that_is_gone_has_no_signature(shop: Shop) -> None:
    shop.send(ONE)
    places = standing(source(shop))
    assert len(signatures(places)) == 1
    (shop.folder / "orders.csv").unlink()
    assert signatures(places) == {}
