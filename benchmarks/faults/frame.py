"""A day's rows as columns of numpy arrays, and the files that they arrive as."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

Values = NDArray[Any]
Frame = dict[str, Values]
Mask = NDArray[np.bool_]


def height(frame: Frame) -> int:
    """How many rows it has."""
    return len(next(iter(frame.values())))


def take(frame: Frame, rows: Values) -> Frame:
    """The rows at these positions, or where this mask is true."""
    return {name: values[rows] for name, values in frame.items()}


def stacked(*frames: Frame) -> Frame:
    """The rows of all, one frame after another; columns are those of the first."""
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def some(rng: np.random.Generator, count: int, share: float) -> Mask:
    """A mask that is true for this share of `count` rows, for one row at least."""
    hit = np.zeros(count, dtype=bool)
    if count:
        hit[rng.choice(count, size=max(1, round(share * count)), replace=False)] = True
    return hit


def changed(
    frame: Frame, column: str, hit: Mask, change: Callable[[Values], Values | object]
) -> Frame:
    """The frame with `change` of the column's values where `hit` is true."""
    new = change(frame[column][hit])
    kept = frame[column]
    is_alike = isinstance(new, np.ndarray) and new.dtype.kind == kept.dtype.kind
    values = kept.copy() if is_alike else kept.astype(object)
    values[hit] = new
    return frame | {column: values}


def as_csv(frame: Frame, *, delimiter: str = ",", header: bool = True) -> bytes:
    """The rows as UTF-8 text; a missing value is empty, a float has two decimals at least."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(frame)
    writer.writerows(zip(*(_texts(values) for values in frame.values()), strict=True))
    return out.getvalue().encode()


def _texts(values: Values) -> list[str]:
    if values.dtype.kind == "M":
        return [text.replace("T", " ") for text in np.datetime_as_string(values, unit="s")]
    return [_text(value) for value in values.tolist()]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        short = f"{value:.2f}"
        return short if float(short) == value else repr(value)
    return str(value).removesuffix(".000000")


def as_parquet(frame: Frame) -> bytes:
    """The rows as Parquet; a column that holds a text is one of texts."""
    columns = {name: _array(values) for name, values in frame.items()}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _array(values: Values) -> Any:
    if values.dtype.kind == "M":
        return pyarrow.array(values.astype("datetime64[us]"))
    if values.dtype.kind != "O":
        return pyarrow.array(values)
    listed = values.tolist()
    if any(isinstance(value, str) for value in listed):
        return pyarrow.array([None if v is None else str(v) for v in listed], pyarrow.string())
    return pyarrow.array(listed)
