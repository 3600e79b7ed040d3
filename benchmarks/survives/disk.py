"""A small disk of its own for a home, which can be filled."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

SIZE = "1g"
BLOCK = bytes(2**20)


class Disk:
    """A tmpfs at the folder where that may be mounted, as root may; `is_small` tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "clearwater-benchmark", str(folder)]
        try:
            done = subprocess.run(mount, capture_output=True, check=False)
        except OSError:
            self.is_small = False
        else:
            self.is_small = done.returncode == 0

    @property
    def _ballast(self) -> Path:
        return self.folder / ".ballast"

    def fill(self) -> None:
        """Leave no room for a byte."""
        with self._ballast.open("wb", buffering=0) as out:
            for size in (2**20, 2**12):
                try:
                    while out.write(BLOCK[:size]):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the disk away with all that is on it."""
        if self.is_small and os.path.ismount(self.folder):
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
