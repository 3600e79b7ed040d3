"""What systemd wants to know of a service (sd_notify(3)); nothing where there is none."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell_service_manager(state: str) -> None:
    """Send a state such as `READY=1` to the socket that `NOTIFY_SOCKET` names."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = f"\0{address[1:]}"
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        channel.sendto(state.encode(), address)
