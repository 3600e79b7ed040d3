"""deploy/: of its formats' schemas, of one mind with the settings, and whole without the rest."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_layers import FILES, LAYERS, tops
from typer.testing import CliRunner

from flows.cli import app
from warehouse.configuration import OPTIONS, OTHER_VARIABLES, STAGES, configuration
from warehouse.settings import PROJECT, load_settings

DEPLOY = PROJECT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = sorted(KUBERNETES.glob("*.yaml"))
TEXTS = [
    PROJECT / "docs" / "deploy.md",
    *sorted(file for file in DEPLOY.rglob("*") if file.is_file() and file.name != ".env"),
]
IMAGE_USER = 10001
GIB = 1 << 30
BESIDE_DUCKDB = 1.5 * GIB  # Python, the server and the gate
BESIDE_THE_STAGES = timedelta(minutes=30)
LOCKS = ("requirements-run", "requirements")
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==[^\\]*(?:\\\n[^\n]*)*", re.M)
COMMAND = re.compile(r"(?:^|bin/|`|exec clearwater )clearwater ([a-z][^`#\n]*)", re.M)
SECRET = re.compile(r"(password|secret|token|access_key|_url)", re.I)


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and what they are told, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M)
    lines = [line.strip() for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def told(instruction: str) -> list[str]:
    return [rest for word, rest in dockerfile() if word == instruction]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in told("ENV") for pair in shlex.split(line))


def context(folder: Path) -> Path:
    """The build's context as .dockerignore leaves it, of the files that git would take."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "nothing enters but what is named"
    kept = [line[1:] for line in patterns if line.startswith("!")]
    dropped = [line.removeprefix("**/") for line in patterns[1:] if not line.startswith("!")]
    for entry in PROJECT.iterdir():
        if not any(fnmatch(entry.name, pattern) for pattern in kept):
            continue
        if entry.is_dir():
            shutil.copytree(entry, folder / entry.name, ignore=shutil.ignore_patterns(*dropped))
        else:
            shutil.copy(entry, folder / entry.name)
    return folder


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yml").read_text())


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / name).read_text())


def pod() -> dict[str, Any]:
    return manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def config_map() -> str:
    return manifest("config.yaml")["data"]["clearwater.toml"]


def unit() -> dict[str, list[str]]:
    """The unit's settings, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "clearwater.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def bytes_of(size: str) -> int:
    """2GiB, 4Gi and 4g are powers of 1024 alike."""
    number, letter = re.fullmatch(r"(\d+)([KMGkmg])(?:i?B?)?", size).groups()
    return int(number) * 1024 ** ("KMG".index(letter.upper()) + 1)


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_the_manifests_are_of_their_schema(file: Path, version: str) -> None:
    told = yaml.safe_load(file.read_text())
    kubernetes_validate.validate(told, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(told | {"metdata": {}}, version, strict=True)


def test_the_compose_file_is_of_its_schema() -> None:
    checked = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checked, DEPLOY / "compose.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    services = compose()["services"]
    for service in services.values():
        assert set(service["networks"]) <= set(compose()["networks"])
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service["volumes"]:
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            if source == "../incoming":  # the user's, unless INCOMING names it
                continue
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose()["volumes"]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_every_setting_that_is_named_there_is(file: Path) -> None:
    known = {option.variable for option in OPTIONS.values()} | {*OTHER_VARIABLES}
    assert {*re.findall(r"\bCLEARWATER_\w+", file.read_text())} <= known


def commands() -> Iterator[str]:
    for file in TEXTS:
        for found in COMMAND.findall(file.read_text()):
            yield found.strip()
    yield " ".join(json.loads(told("CMD")[0])[1:])
    yield " ".join(pod()["containers"][0]["args"][1:])


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_that_is_named_there_is(command: str) -> None:
    done = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert done.exit_code == 0, done.output


def test_the_commands_are_found() -> None:
    assert {"up --foreground", "run --wait --log json", "status", "doctor"} <= {*commands()}


def test_no_secret_stands_there() -> None:
    for name in ("clearwater.env.example", ".env.example"):
        for line in (DEPLOY / name).read_text().splitlines():
            key, _, value = line.lstrip("#").partition("=")
            if re.fullmatch(r"[A-Z_]+", key) and SECRET.search(key):
                assert line.startswith("#") or not value, line
    assert not any(manifest("secret.example.yaml")["stringData"].values())
    for service in compose()["services"].values():
        for key, value in service["environment"].items():
            assert not SECRET.search(key) or "${" in value, key
    secrets = {option.variable for option in OPTIONS.values() if option.secret}
    assert not secrets & {*image_environment()}


def test_what_the_image_installs_is_locked() -> None:
    run, whole = ((PROJECT / f"{name}.lock").read_text() for name in LOCKS)
    every = {found[0].rstrip() for found in LOCKED.finditer(whole)}
    locked = {found[1]: found[0].rstrip() for found in LOCKED.finditer(run)}
    assert {*locked.values()} <= every, "run `make lock`"
    assert all("--hash=sha256:" in entry for entry in locked.values())
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert needed(declared["dependencies"]) <= {*locked}, "run `make lock`"
    assert not {"pytest", "moto", "playwright", "mypy"} & {*locked}


def test_the_platform_imports_nothing_that_the_image_lacks() -> None:
    text = (PROJECT / "requirements-run.lock").read_text()
    locked = {found[1] for found in LOCKED.finditer(text)}
    whose = importlib.metadata.packages_distributions()
    foreign = set().union(*map(tops, FILES)) - {*sys.stdlib_module_names} - {*LAYERS}
    assert {"duckdb", "prefect", "great_expectations"} <= foreign
    for name in foreign:
        owners = {canonicalize_name(owner) for owner in whose.get(name, [name])}
        assert owners & locked, name


def needed(requirements: list[str]) -> set[str]:
    """The names of all that these need on this machine, with what that needs in turn."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        found.add(name)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in importlib.metadata.requires(name) or []:
                next_one = Requirement(text)
                if next_one.marker is None or next_one.marker.evaluate({"extra": extra}):
                    waiting.append(next_one)
    return found


def test_the_image_is_made_of_what_there_is(tmp_path: Path) -> None:
    there = context(tmp_path)
    copied = [rest.split() for rest in told("COPY") if not rest.startswith("--from")]
    for *sources, _target in copied:
        assert all((there / source).exists() for source in sources)
    names = {entry.name for entry in there.iterdir()}
    assert {"warehouse", "models", "sources.yml", "profiles.yml", "requirements.lock"} <= names
    assert not {"tests", "var", ".git", ".venv", "deploy"} & names
    assert not [*there.rglob("__pycache__")]
    install = next(rest for rest in told("RUN") if "pip install" in rest)
    assert "--require-hashes" in install and "--no-deps" in install
    assert install.endswith("requirements-run.lock")
    assert all(":" in image or image.startswith("python:$") for image in told("FROM"))
    assert told("USER") == [f"{IMAGE_USER}:{IMAGE_USER}"]


def test_the_image_is_well_only_while_its_server_answers() -> None:
    checked = json.loads(told("HEALTHCHECK")[0].partition("CMD")[2])
    assert checked[:2] == ["python", "-c"]

    class Server(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A proxy of the network's is not asked.
        env = {"CLEARWATER_SERVER_PORT": str(server.server_port), "http_proxy": "http://[::1]:1"}

        def healthy() -> bool:
            done = subprocess.run([sys.executable, "-c", checked[2]], env=env, capture_output=True)
            return done.returncode == 0

        assert healthy()
        Server.status = 503
        assert not healthy()
        server.shutdown()
    assert not healthy()


def test_the_ui_is_published_on_the_machine_alone() -> None:
    services = compose()["services"]
    port = image_environment()["CLEARWATER_SERVER_PORT"]
    assert services["clearwater"]["environment"]["CLEARWATER_SERVER_PORT"] == port
    assert services["clearwater"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "ports" not in services["postgres"]
    assert services["postgres"]["networks"] == ["database"]
    assert compose()["networks"]["database"]["internal"] is True
    published = re.findall(r"-p (\S+)", (PROJECT / "docs" / "deploy.md").read_text())
    assert published == [f"127.0.0.1:{port}:{port}"]


def test_duckdb_keeps_to_what_the_containers_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = compose()["services"]["clearwater"]
    given = service["environment"]
    assert int(given["CLEARWATER_THREADS"]) == service["cpus"]
    spare = bytes_of(service["mem_limit"]) - bytes_of(given["CLEARWATER_MEMORY_LIMIT"])
    assert spare >= BESIDE_DUCKDB

    file = tmp_path / "clearwater.toml"
    file.write_text(config_map())
    monkeypatch.setenv("CLEARWATER_CONFIG", str(file))
    settings = load_settings(tmp_path / "home")
    limits = pod()["containers"][0]["resources"]["limits"]
    assert settings.threads == int(limits["cpu"])
    assert bytes_of(limits["memory"]) - bytes_of(settings.memory_limit) >= BESIDE_DUCKDB


def test_the_time_outs_fit_into_each_other(tmp_path: Path) -> None:
    file = tmp_path / "clearwater.toml"
    file.write_text(config_map())
    options = configuration({"CLEARWATER_CONFIG": str(file)})
    longest = sum((options[f"timeout.{stage}"].value() for stage in STAGES), timedelta())
    job = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]
    # A run also starts, waits for another writer and sweeps what a killed one left.
    assert longest + BESIDE_THE_STAGES <= timedelta(seconds=job["activeDeadlineSeconds"])
    patience = unit()["TimeoutStopSec"][0]
    assert compose()["services"]["clearwater"]["stop_grace_period"] == f"{patience}s"
    assert str(pod()["terminationGracePeriodSeconds"]) == patience


def test_the_job_mounts_and_reads_what_the_other_manifests_make() -> None:
    (container,) = pod()["containers"]
    made = {(told["kind"], told["metadata"]["name"]) for told in map(read, MANIFESTS)}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {*volumes}
    claim = volumes["home"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in made
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in made
    assert ("Secret", container["envFrom"][0]["secretRef"]["name"]) in made
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["home"] == image_environment()["CLEARWATER_HOME"]
    (config,) = (item["value"] for item in container["env"] if item["name"] == "CLEARWATER_CONFIG")
    assert Path(config).parent == Path(mounted["config"])
    assert Path(config).name in manifest("config.yaml")["data"]
    assert pod()["securityContext"]["runAsUser"] == IMAGE_USER


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


def test_the_unit_its_environment_and_the_recipe_name_the_same_places() -> None:
    home = f"/var/lib/{unit()['StateDirectory'][0]}"
    assert unit()["Environment"] == [f"CLEARWATER_HOME={home}"]
    (file,) = unit()["EnvironmentFile"]
    example = (DEPLOY / "clearwater.env.example").read_text()
    sourced = subprocess.run(
        ["sh", "-c", f"set -eua\n{example}\nprintenv CLEARWATER_HOME"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert sourced.strip() == home
    recipe = (PROJECT / "docs" / "deploy.md").read_text()
    program = unit()["ExecStart"][0].split()[0]
    for place in (home, file, program, unit()["WorkingDirectory"][0]):
        assert place in recipe
    for name in re.findall(r"\bdeploy/[\w./-]+\w", recipe):
        assert (PROJECT / name).exists() or name == "deploy/.env", name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    text = (DEPLOY / "clearwater.service").read_text()
    program = unit()["ExecStart"][0].split()[0]
    file = tmp_path / "clearwater.service"
    file.write_text(text.replace(program, sys.executable))  # it must be there to be verified
    for arguments in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(
            ["systemd-analyze", "--no-pager", *arguments, file], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "clearwater.service:" not in done.stderr, done.stderr


# Root, too, may then write only where the permissions say so.
OBEYS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.slow
def test_what_the_image_holds_runs_and_writes_to_its_home_alone(tmp_path: Path) -> None:
    project = tmp_path / "app"
    project.mkdir()
    before = {file: file.stat().st_mtime_ns for file in context(project).rglob("*")}
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    for file in (nowhere, project, *before):
        file.chmod(file.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    env = image_environment() | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(project),
        "CLEARWATER_HOME": str(tmp_path / "data"),
        "HOME": str(nowhere),
    }
    guard = OBEYS if os.geteuid() == 0 else []
    refused = subprocess.run([*guard, "touch", project / "new"], env=env, capture_output=True)
    assert refused.returncode != 0

    def clearwater(*words: str) -> Any:
        done = subprocess.run(
            [*guard, sys.executable, "-m", "flows", *words, "--json"],
            cwd=project, env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    release = clearwater("demo")["release"]
    assert release and clearwater("status")["release"] == release
    assert clearwater("query", "select count(*) n from marts.fct_transactions")[0]["n"] > 0
    assert {file: file.stat().st_mtime_ns for file in project.rglob("*")} == before
    assert not [*nowhere.iterdir()]
