"""Hostile and broken inputs, each with the verdict that it must get; nothing large is stored."""

from __future__ import annotations

from corpus import (
    container_cases,
    csv_cases,
    excel_cases,
    heavy_cases,
    json_cases,
    moving_cases,
    typed_cases,
    xml_cases,
)
from corpus.case import Case

CASES: list[Case] = [
    case
    for module in (
        csv_cases,
        json_cases,
        xml_cases,
        typed_cases,
        excel_cases,
        container_cases,
        moving_cases,
    )
    for case in module.CASES
]
HEAVY: list[Case] = heavy_cases.CASES
