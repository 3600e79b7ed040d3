"""Words that messages share."""

from __future__ import annotations

import pytest

from warehouse.wording import counted


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2000, "feature set", "2,000 feature sets"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
    ],
)
def test_noun_agrees_with_its_number(count: int, noun: str, words: str) -> None:
    assert counted(count, noun) == words
