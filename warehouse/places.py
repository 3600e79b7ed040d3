"""Where files stand: local folders and S3. What stands there can be listed, told apart and read."""

from __future__ import annotations

import glob
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast

from warehouse.errors import BatchRefusedError
from warehouse.files import in_order
from warehouse.sources import Source

S3 = "s3://"
READ_BYTES = 8 << 20  # one request each
CONNECT_SECONDS = 3
SILENCE_SECONDS = 5
ATTEMPTS = 3
MARKS = re.compile(r"[*?\[]")
AWS_ERROR = re.compile(r"AWS Error (\w+)")
CURL_ERROR = re.compile(r"curlCode: \d+, ([^;]+)")
DENIED = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNRECOGNIZED_CLIENT",
)


@dataclass(frozen=True)
class State:
    """What changes when a file is written: bytes, nanoseconds since 1970, S3's entity tag."""

    size: int
    modified_ns: int
    etag: str = ""


@dataclass(frozen=True)
class LocalFile:
    """A file in a local folder; `source` is the name of the source that it belongs to."""

    source: str
    file: Path

    @property
    def name(self) -> str:
        r"""The file's own name; bytes of it that are not Unicode as `\xe9`."""
        return _unicode(self.file.name)

    @property
    def path(self) -> str:
        """Where it stands, in full; its bytes as in `name`."""
        return _unicode(str(self.file))

    def state(self) -> State:
        """Its state now; raises BatchRefusedError when it is gone, closed to us or no file."""
        with _local_errors(self):
            found = self.file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BatchRefusedError(
                "it is not a file", where=where(self), next_step="correct `path:` in sources.yml"
            )
        return State(found.st_size, found.st_mtime_ns)

    def open(self) -> BinaryIO:
        """Its bytes; raises BatchRefusedError as `state` does."""
        with _local_errors(self):
            return cast(BinaryIO, self.file.open("rb", buffering=0))


@dataclass(frozen=True)
class S3Object:
    """An object as a listing showed it.

    `path` is `s3://bucket/key`; `size` and `modified_ns` are the listing's, which shows no entity
    tag and may round a time otherwise than `state` does.
    """

    source: str
    path: str
    size: int
    modified_ns: int
    filesystem: Any

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.path.rpartition("/")[2]

    def state(self) -> State:
        """Its state now; raises BatchRefusedError when it cannot be reached."""
        with self._stream() as stream, _s3_errors(where(self)):
            told = {name: value.decode() for name, value in stream.metadata().items()}
            modified = datetime.fromisoformat(told["Last-Modified"])
            size, etag = int(told["Content-Length"]), told.get("ETag", "")
        return State(size, int(modified.timestamp()) * 1_000_000_000, etag)

    def open(self) -> BinaryIO:
        """Its bytes, as they are; this and every read raise BatchRefusedError as `state` does."""
        return cast(BinaryIO, io.BufferedReader(_Body(self._stream(), where(self)), READ_BYTES))

    def _stream(self) -> Any:
        address = self.path.removeprefix(S3)
        if has_odd_part(address):
            raise BatchRefusedError(
                "a part of its key is empty, `.` or `..`",
                where=where(self),
                next_step="copy the object to a key without such parts",
            )
        with _s3_errors(where(self)):
            return self.filesystem.open_input_stream(address, compression=None)


Place = LocalFile | S3Object


def _unicode(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def where(place: Place) -> str:
    """The place in the words of a message: the source's name and the file's."""
    return f"{place.source}: {place.name}"


def standing(source: Source) -> list[Place]:
    """The files that the source's `path` matches now, in the order of their names.

    Raises BatchRefusedError when S3 cannot be listed; OSError, ValueError and RuntimeError for a
    local path that no system can have.
    """
    location = source.expanded(escape=source.is_glob)
    if location.startswith(S3):
        return list(_objects(source, location.removeprefix(S3)))
    return list(_local_files(source, location))


def _local_files(source: Source, location: str) -> Iterator[LocalFile]:
    path = Path(location).expanduser()
    if not source.is_glob:
        file = source.folder / path
        found = [file] if file.exists() else []
    else:
        pattern = Path(glob.escape(str(source.folder))) / path
        matches = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        hidden = path.name.startswith(".")  # macOS leaves `._x.csv` beside x.csv
        files = (f for f in matches if f.is_file() and (hidden or f.name[0] != "."))
        found = sorted(files, key=lambda file: [in_order(part) for part in file.parts])
    for file in found:
        yield LocalFile(source.name, file)


@contextmanager
def _local_errors(place: LocalFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchRefusedError(
            f"the file cannot be read: {error.strerror}",
            where=where(place),
            next_step="make it a readable file and run again",
        ) from None


def _objects(source: Source, address: str) -> Iterator[S3Object]:
    """The objects at `bucket/key`, or at `bucket/pattern`."""
    place = f"{source.name}: {source.path}"
    bucket, _, key = address.partition("/")
    if MARKS.search(bucket) or not key or has_odd_part(address):
        raise BatchRefusedError(
            "it does not name objects of one bucket",
            where=place,
            next_step="write `path:` as s3://bucket/key or s3://bucket/folder/*.csv",
        )
    filesystem = _filesystem(place)
    with _s3_errors(place):
        if source.is_glob:
            found = _matching(filesystem, bucket, key)
        else:
            found = _one(filesystem, bucket, key, place)
    for info in sorted(found, key=lambda info: [in_order(p) for p in info.path.split("/")]):
        yield S3Object(source.name, f"{S3}{info.path}", info.size, info.mtime_ns, filesystem)


def has_odd_part(address: str) -> bool:
    """Whether clients would take the address for another object's, as they resolve file paths."""
    return not {"", ".", ".."}.isdisjoint(address.split("/"))


def _matching(filesystem: Any, bucket: str, key: str) -> list[Any]:
    """The objects whose keys match the pattern; lists the folder above its first mark."""
    from pyarrow.fs import FileSelector

    parts = key.split("/")
    first = next(n for n, part in enumerate(parts) if MARKS.search(part))
    folder, pattern = "/".join([bucket, *parts[:first]]), parts[first:]
    is_deep = len(pattern) > 1 or pattern == ["**"]
    try:
        found = filesystem.get_file_info(FileSelector(folder, recursive=is_deep))
    except FileNotFoundError:
        return []
    skip = len(folder) + 1
    hidden = pattern[-1].startswith(".")
    return [
        info
        for info in found
        if info.is_file
        and (hidden or info.base_name[:1] != ".")
        and _matches(info.path[skip:].split("/"), pattern)
    ]


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a key match those of a pattern; `**` stands for any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[n:], pattern[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _one(filesystem: Any, bucket: str, key: str, place: str) -> list[Any]:
    from pyarrow.fs import FileType

    info = filesystem.get_file_info(f"{bucket}/{key}")
    if info.type == FileType.Directory:
        raise BatchRefusedError(
            "it is a folder", where=place, next_step="name one object, or end `path:` with /*"
        )
    if info.is_file:
        return [info]
    if filesystem.get_file_info(bucket).type == FileType.NotFound:
        raise _no_bucket(place)
    return []


def _filesystem(place: str) -> Any:
    """S3 as the environment describes it; nothing is sent yet.

    Only AWS_* variables count: no files in the user's home, no service of a cloud machine.
    """
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    def given(*names: str) -> str | None:
        return next((value for name in names if (value := os.environ.get(name))), None)

    access_key, secret_key = given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY")
    if bool(access_key) != bool(secret_key):
        raise BatchRefusedError(
            "only one half of the S3 credentials is set",
            where=place,
            next_step="export both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
        )
    with _s3_errors(place):
        return S3FileSystem(
            access_key=access_key,
            secret_key=secret_key,
            session_token=given("AWS_SESSION_TOKEN") if access_key else None,
            anonymous=access_key is None,
            region=given("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
            endpoint_override=given("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=SILENCE_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )


class _Body(io.RawIOBase):
    """An S3 stream as a raw Python file, whose errors say what and where."""

    def __init__(self, stream: Any, place: str) -> None:
        self._stream = stream
        self._place = place

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _s3_errors(self._place):
            block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _s3_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:  # pyarrow's are one of the first two
        raise _refusal(error, place) from None


def _refusal(error: Exception, place: str) -> BatchRefusedError:
    """The error in our words: S3's own may hold the keys that `path` keeps to itself."""
    text = str(error)
    found = AWS_ERROR.search(text)
    code = found.group(1) if found else type(error).__name__
    if code == "NO_SUCH_BUCKET":
        return _no_bucket(place)
    if code == "NO_SUCH_KEY" or isinstance(error, FileNotFoundError):
        return BatchRefusedError(
            "the object is gone", where=place, next_step="run again when its writer is done"
        )
    if code == "NETWORK_CONNECTION":
        detail = CURL_ERROR.search(text)
        return BatchRefusedError(
            f"S3 cannot be reached{': ' + detail.group(1) if detail else ''}",
            where=place,
            next_step="check the network and AWS_ENDPOINT_URL, and run again",
        )
    if code in DENIED or "TOKEN" in code:
        signed = "as AWS_ACCESS_KEY_ID" if os.environ.get("AWS_ACCESS_KEY_ID") else "anonymously"
        return BatchRefusedError(
            f"S3 denies access {signed} ({code})",
            where=place,
            next_step="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the"
            " bucket's policy",
        )
    return BatchRefusedError(
        f"S3 answers with an error ({code})",
        where=place,
        next_step="check AWS_REGION, AWS_ENDPOINT_URL and the object, and run again",
    )


def _no_bucket(place: str) -> BatchRefusedError:
    return BatchRefusedError(
        "there is no such bucket",
        where=place,
        next_step="correct `path:` in sources.yml; check AWS_REGION and AWS_ENDPOINT_URL",
    )


@contextmanager
def s3(place: str) -> Iterator[Any]:
    """S3 as the environment describes it, for the block, whose errors are those of `standing`.

    `place` is what they name.
    """
    filesystem = _filesystem(place)
    with _s3_errors(place):
        yield filesystem
