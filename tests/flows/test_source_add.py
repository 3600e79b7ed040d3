"""`clearwater source add`: what it shows, asks and writes, and that the next commands work."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
import yaml

from flows import cli
from flows.commands import source
from warehouse import dbt_runner
from warehouse.settings import PROJECT, load_settings

Call = Callable[..., tuple[int, str, str]]
COPIED = ("expectations", "flows", "macros", "models", "tests/dbt", "warehouse")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def write_orders(folder: Path) -> Path:
    """Three months of a German shop's orders: 1,000 rows in cp1252, semicolons and commas.

    Amounts are written like 1.250,00; discounts come from February on.
    """
    folder.mkdir()
    start = datetime(2024, 1, 1, tzinfo=UTC)
    header = [
        "Bestell-Nr.",
        "Kunde",
        "Bestellt am",
        "Status",
        "Größe (cm)",
        "Betrag",
        "PLZ",
        "Rabatt",
    ]
    rows = [
        [
            n,
            f"K-{n % 97}",
            (start + timedelta(hours=2 * n)).strftime("%d.%m.%Y %H:%M"),
            ("offen", "bezahlt", "storniert")[n % 3],
            f"{n / 8:.1f}".replace(".", ","),
            f"{n * 1.25:,.2f}".translate(str.maketrans(",.", ".,")),
            f"{n * 7 % 99999:05}",
            f"{n % 4},5",
        ]
        for n in range(1, 1001)
    ]
    for month in (1, 2, 3):
        file = folder / f"2024-{month:02}.csv"
        with file.open("w", newline="", encoding="cp1252") as handle:
            writer = csv.writer(handle, delimiter=";")
            width = len(header) - (month == 1)
            writer.writerow(header[:width])
            writer.writerows(row[:width] for row in rows if f".{month:02}.2024" in str(row[2]))
    return folder


def write_products(file: Path) -> None:
    """What a shop's API gives: 60 products below a path, with nested values and nulls."""
    products = [
        {"sku": f"{n:06}", "price": n * 1.1, "stock": n or None, "sizes": {"w": n, "h": [1, 2]}}
        for n in range(60)
    ]
    file.write_text(json.dumps({"page": 1, "data": {"items": products}}))


def write_weather(file: Path) -> None:
    """A workbook of 400 days behind a cover sheet, below two rows of titles."""
    book = openpyxl.Workbook()
    book.worksheets[0].append(["Daily weather of Zürich"])
    sheet = book.create_sheet("Days")
    sheet.append(["Station", "Zürich"])
    sheet.append([])
    sheet.append(["Date", "Temp (°C)", "Rain (mm)", "Remark"])
    for n in range(400):
        day = date(2023, 1, 1) + timedelta(days=n)
        sheet.append([day, n / 8, n % 3, "storm" if n % 50 == 0 else None])
    book.save(file)


def write_visits(folder: Path) -> None:
    """Two months of XML, packed; the second has an element more."""
    folder.mkdir()
    for month in (1, 2):
        more = "<rating>5</rating>" * (month - 1)
        visits = "".join(
            f'<visit id="{month}{n:03}"><at>2024-0{month}-01T10:{n:02}:00Z</at>{more}</visit>'
            for n in range(60)
        )
        with gzip.open(folder / f"2024-0{month}.xml.gz", "wt") as handle:
            handle.write(f"<log><visits>{visits}</visits></log>")


def write_clinic(folder: Path) -> Path:
    """Three tables of a clinic: patients, two days of visits, rooms; and what makes no table."""
    folder.mkdir()
    patients = [f"{n},Name {n},19{n:02}-05-01" for n in range(1, 41)]
    (folder / "patients.csv").write_text("\n".join(["patient_id,name,born", *patients, ""]))
    for day in (1, 2):
        visits = [f"{day}{n:03},{n % 40 + 1},2024-03-0{day} 10:{n:02},R{n % 3}" for n in range(60)]
        text = "\n".join(["visit_id,patient_id,began_at,room", *visits, ""])
        (folder / f"visits_2024-03-0{day}.csv").write_text(text)
    rooms = [{"room": f"R{n}", "floor": n} for n in range(3)]
    (folder / "clinic_rooms_export.json").write_text(json.dumps(rooms))
    (folder / "README.md").write_text("What the files are.\n")
    return folder


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return write_orders(tmp_path / "orders")


@pytest.fixture
def add(
    project: Path,
    orders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """`source add` of the orders to a project of its own, in this process."""
    shutil.copytree(PROJECT / "expectations" / "rules", project / "expectations" / "rules")
    monkeypatch.setattr(source, "PROJECT", project)
    monkeypatch.chdir(tmp_path)

    def call(*more: str, name: str = "shop.orders", path: Path = orders) -> tuple[int, str, str]:
        arguments = [str(path), "--name", name, "--sources", str(tmp_path / "my.yml")]
        arguments += ["--home", str(tmp_path / "home")]
        monkeypatch.setattr(sys, "argv", ["clearwater", "source", "add", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    return call


def files_of(project: Path) -> set[Path]:
    return {file for file in project.rglob("*") if file.is_file()}


def test_dry_run_shows_everything_and_writes_nothing(
    add: Call, project: Path, tmp_path: Path
) -> None:
    before = files_of(project)
    code, out, _ = add("--dry-run")
    assert code == 0
    for words in (
        "shop.orders: 1,000 rows in 3 files, csv",
        "timestamp '%d.%m.%Y %H:%M'",
        "key: [Bestell-Nr.]",
        "fct_shop_orders.sql",
        "nothing was written",
    ):
        assert words in out
    assert files_of(project) == before
    assert not (tmp_path / "my.yml").exists()


def test_yes_writes_and_tells_machines_what(add: Call, project: Path, tmp_path: Path) -> None:
    code, out, _ = add("--yes", "--json")
    told = json.loads(out)
    assert (code, told["written"]) == (0, True)
    assert set(told) == {"entry", "files", "evidence", "warnings", "written"}
    assert all(Path(file).is_file() for file in told["files"])
    (entry,) = yaml.safe_load((tmp_path / "my.yml").read_text())["sources"]
    assert entry == told["entry"]
    assert (entry["path"], entry["delimiter"]) == ("orders/*.csv", ";")
    code, _, err = add("--yes")
    assert (code, "declared already" in err) == (2, True)


@pytest.mark.parametrize(("answer", "count"), [("y", 8), ("n", 0)])
def test_a_person_is_asked(
    add: Call, project: Path, monkeypatch: pytest.MonkeyPatch, answer: str, count: int
) -> None:
    before = files_of(project.parent)
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    code, out, _ = add()
    assert code == 0
    assert "write these 8 files? [y/N]" in out
    new = [file for file in files_of(project.parent) - before if "home" not in file.parts]
    assert len(new) == count


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_nobody_to_ask_is_2(add: Call, tmp_path: Path, more: list[str]) -> None:
    code, out, err = add(*more)
    assert code == 2
    assert ("shop.orders: " in out) == (not more)  # what was found is shown to people
    assert "write these" not in out
    assert "--yes" in err
    assert not (tmp_path / "my.yml").exists()


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("Orders", ["--yes"], "<source>.<dataset>"),
        ("shop.orders", ["b.csv", "--yes"], "in quotes"),
    ],
)
def test_wrong_usage_is_one_message(add: Call, name: str, more: list[str], words: str) -> None:
    code, _, err = add(*more, name=name)
    assert code == 2
    assert words in err
    assert "\n  next: " in err
    assert "Traceback" not in err


def test_project_that_cannot_be_read_keeps_nothing(
    add: Call, project: Path, tmp_path: Path
) -> None:
    (project / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nobody') }}")
    before = files_of(project)
    code, _, err = add("--yes")
    assert code == 2
    assert "none was kept" in err
    assert "nobody" in err
    assert files_of(project) == before
    assert not (tmp_path / "my.yml").exists()


@pytest.mark.slow
def test_a_folder_of_several_tables_is_added_in_one_go(
    add: Call, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_clinic(tmp_path / "clinic")
    before = files_of(project)
    code, out, err = add("--yes", path=folder, name="shop.visits")
    assert (code, out) == (2, "")
    assert f"error: {folder}: 3 different tables, and --name shop.visits is for one" in err
    assert "--name shop adds them all" in err
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, out, _ = add(path=folder, name="shop")
    assert code == 0
    for words in (
        "1 of 3: shop.clinic_rooms: 3 rows in 1 file, json; clinic/clinic_rooms_export.json",
        "3 of 3: shop.visits: 120 rows in 2 files, csv; clinic/visits_*.csv",
        "+ my.yml: the entry shop.clinic_rooms and 2 more",
        "left out, for their suffix tells no table: README.md",
        "write these 20 files? [y/N]",
        "nothing was written",
    ):
        assert words in out
    assert files_of(project) == before
    code, out, _ = add("--yes", "--json", path=folder, name="shop")
    told = json.loads(out)
    assert (code, told["written"], len(told["files"])) == (0, True, 20)
    assert all(Path(file).is_file() for file in told["files"])
    declared = yaml.safe_load((tmp_path / "my.yml").read_text())["sources"]
    assert declared == [table["entry"] for table in told["tables"]]
    assert [entry["path"] for entry in declared] == [
        "clinic/clinic_rooms_export.json",
        "clinic/patients.csv",
        "clinic/visits_*.csv",
    ]
    written = files_of(project)
    for name in ("shop", "shop.visits"):
        code, out, err = add("--yes", path=folder, name=name)
        assert (code, out) == (2, "")
        assert "declared already" in err
    assert files_of(project) == written


def test_several_tables_are_kept_all_or_none(add: Call, project: Path, tmp_path: Path) -> None:
    folder = write_clinic(tmp_path / "clinic")
    (project / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nobody') }}")
    before = files_of(project)
    code, _, err = add("--yes", path=folder, name="shop")
    assert code == 2
    assert "none was kept" in err
    assert files_of(project) == before
    assert not (tmp_path / "my.yml").exists()


def test_a_table_that_cannot_be_added_does_not_keep_the_others(add: Call, tmp_path: Path) -> None:
    folder = write_clinic(tmp_path / "clinic")
    (folder / "staff.csv").write_text("staff_id,role,since\n")
    code, out, _ = add("--dry-run", path=folder, name="shop")
    assert code == 0
    assert "all 3 tables" in out
    assert "left out: clinic/staff.csv: there is a header, but no row to learn from" in out


@pytest.mark.slow
def test_three_commands_lead_from_files_to_an_answer(tmp_path: Path) -> None:
    """In a copy of the repository; the second and third command are the ones that it prints."""
    tree = tmp_path / "tree"
    for name in COPIED:
        shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*PROJECT.glob("*.yml"), PROJECT / "pyproject.toml"):
        shutil.copy(file, tree)
    write_orders(tree / "data orders")
    write_products(tree / "products.json")
    write_weather(tree / "weather.xlsx")
    write_visits(tree / "visits")
    write_clinic(tree / "clinic")
    variables = os.environ | {"CLEARWATER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tree)}

    def clearwater(command: str) -> str:
        words = shlex.split(command)
        assert words[0] == "clearwater"
        done = subprocess.run(
            [sys.executable, "-m", "flows", *words[1:]],
            cwd=tree,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = clearwater("clearwater source add 'data orders' --name shop.orders --yes")
    clearwater("clearwater source add products.json --name shop.products --yes")
    clearwater("clearwater source add weather.xlsx --name met.weather --yes")
    clearwater("clearwater source add visits --name log.visits --yes")
    clearwater("clearwater source add clinic --name clinic --yes")
    run, query = (line for line in said.splitlines() if line.startswith("  clearwater "))
    summary = json.loads(clearwater(f"{run} --json"))
    assert summary["status"] == "done"
    assert summary["sources"]["shop.orders"]["loaded"] == 1000
    assert {counts["quarantined"] for counts in summary["sources"].values()} == {0}
    rows = json.loads(clearwater(f"{query} --json"))
    assert len(rows) == 10
    assert list(rows[0]) == [
        *("bestell_nr", "kunde", "bestellt_am", "status", "groesse_cm", "betrag", "plz"),
        *("rabatt", "_loaded_at"),
    ]
    totals = (
        "select count(distinct bestell_nr) as orders, sum(betrag) as betrag, "
        "max(bestellt_am) as newest, min(plz) as plz, sum(groesse_cm) as cm, "
        "count(*) filter (rabatt is null) as without, sum(rabatt) as rabatt from fct_shop_orders"
    )
    (total,) = json.loads(clearwater(shlex.join(["clearwater", "query", totals, "--json"])))
    assert total["orders"] == 1000
    assert total["betrag"] == "625625.00"
    assert total["newest"] == "2024-03-24T08:00:00"
    assert total["plz"] == "00007"
    assert total["without"] == 371  # January's
    assert total["rabatt"] == "1256.50"
    of_others = (
        "select (select sum(price) from dim_shop_products) as price,"
        " (select max(sizes) from dim_shop_products where sku = '000007') as sizes,"
        " (select count(*) from dim_shop_products where stock is null) as sold_out,"
        " (select max(date) from fct_met_weather) as day,"
        " (select sum(temp_c) from fct_met_weather) as temp,"
        ' (select max("at") from fct_log_visits) as visit,'
        " (select sum(rating) from fct_log_visits) as rating"
    )
    (other,) = json.loads(clearwater(shlex.join(["clearwater", "query", of_others, "--json"])))
    assert other == {
        "price": pytest.approx(1947.0),
        "sizes": '{"w":7,"h":[1,2]}',
        "sold_out": 1,
        "day": "2024-02-04",
        "temp": 9975.0,
        "visit": "2024-02-01T10:59:00",
        "rating": 300,
    }
    joined = (
        "select floor, count(*) as visits, count(distinct patients.name) as patients"
        " from fct_clinic_visits join dim_clinic_rooms as rooms using (room)"
        " join dim_clinic_patients as patients using (patient_id) group by all order by floor"
    )
    floors = json.loads(clearwater(shlex.join(["clearwater", "query", joined, "--json"])))
    assert [list(row.values()) for row in floors] == [[0, 40, 20], [1, 40, 20], [2, 40, 20]]
    assert json.loads(clearwater("clearwater releases --json"))[0]["verdict"] == "pass"


def test_personal_columns_are_proposed_and_said_why(
    add: Call, tmp_path: Path, project: Path
) -> None:
    file = tmp_path / "people.csv"
    rows = [f"{n},user{n}@shop.example,Ada{n},{n % 7}" for n in range(300)]
    file.write_text("\n".join(["id,contact,first_name,visits", *rows]) + "\n")
    code, out, _ = add("--yes", name="crm.people", path=file)
    assert code == 0
    entry = (tmp_path / "my.yml").read_text()
    assert "personal: [contact, first_name]" in entry
    assert re.search(r"# contact: (\d+) of \1 different values looked at are e-mail", entry)
    assert "# first_name: its name is that of a person's name" in entry
    assert re.search(r"column contact +personal +\d+ of", out)
    (model,) = yaml.safe_load((project / "models/marts/crm/dim_crm_people.yml").read_text())[
        "models"
    ]
    marked = [
        c["name"] for c in model["columns"] if c.get("config") == {"meta": {"personal": True}}
    ]
    assert marked == ["contact", "first_name"]
    found = dbt_runner.parse(load_settings(tmp_path / "home")).models
    assert found["dim_crm_people"].personal == {"contact", "first_name"}
    told = {p.read_text() for p in project.rglob("*people*.yml")} | {entry}
    assert not any("user1@" in text or "Ada1" in text for text in told)
