"""Looking at files never seen before: what an entry in sources.yml would have to say of them."""

from __future__ import annotations

from warehouse.inference.inferring import infer, infer_relation
from warehouse.inference.result import FILE, Evidence, Inferred, InferredColumn

__all__ = ["FILE", "Evidence", "Inferred", "InferredColumn", "infer", "infer_relation"]
