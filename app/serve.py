"""`m6 serve`: loads a model, opens the page and waits until it is stopped."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from typing import TYPE_CHECKING

import typer

from app.models import find_model, load_model

if TYPE_CHECKING:
    import gradio

LOCAL_NAMES = ("localhost", "ip6-localhost")
SHORTEST_PASSWORD = 8


def is_local(host: str) -> bool:
    """Whether nobody but this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


def check_address(host: str, port: int, password: str | None) -> None:
    """Raises ValueError for an open page without a password, and for an address that cannot be used."""
    if not is_local(host) and not password:
        raise ValueError(
            f"host {host} can be reached by others: give --password (or set M6_PASSWORD),"
            " or use --host 127.0.0.1"
        )
    if password is not None and len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"the password has {len(password)} characters; give at least {SHORTEST_PASSWORD}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} must be 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(
            f"cannot listen at {host} port {port} ({reason}); choose another --host or --port"
        ) from None


def launch(page: gradio.Blocks, host: str, port: int, password: str | None) -> None:
    """Starts the server in a thread of its own. Any user name goes with the password."""
    from app.page_style import CSS, make_theme

    def allow(_: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (password or "").encode())

    page.launch(
        server_name=host,
        server_port=port,
        auth=allow if password else None,
        auth_message="用户名任意 · Any user name" if password else None,
        theme=make_theme(),
        css=CSS,
        footer_links=["api"],
        ssr_mode=False,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
    )


def serve(model: str, host: str, port: int, password: str | None, device: str) -> None:
    """Raises ValueError for wrong settings, before the model loads where that can be known."""
    check_address(host, port, password)
    folder = find_model(model)
    typer.echo(f"loading {folder} ...", err=True)
    pipe = load_model(folder, device)

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
    from app.page import build_page

    page = build_page(pipe, folder)
    launch(page, host, port, password)
    typer.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C stops it)")
    page.block_thread()
