"""Wrong input, files and disks as one line on stderr and exit status 2; a stop by Ctrl-C as status 130."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

TRACEBACK = "M6_TRACEBACK"  # set to 1: errors keep their traceback
NO_SPACE = "no space left on the disk{where}; free some, or write to another one"


def explain(error: BaseException) -> str | None:
    """One line for a person, or None for what is no wrong input but a fault of the program."""
    if isinstance(error, OSError):
        return explain_os_error(error)
    text = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return text or type(error).__name__
    # classes of libraries that a command has loaded; to import them here would slow `m6 --help`
    kind = type(error).__name__
    if kind == "SafetensorError" or (kind == "RuntimeError" and "inline_container" in text):
        full = "No space left" in text or "os error 28" in text
        return (
            NO_SPACE.format(where="") if full else f"a file of weights could not be written or read: {text}"
        )
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "not enough memory; ask for fewer pictures, a smaller batch, or another --device"
    return None


def explain_os_error(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE.format(where=where)
    text = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}{where}"


def say_error(text: str) -> None:
    typer.secho(f"error: {text}", fg=typer.colors.RED, err=True)


def say_warning(text: str) -> None:
    typer.secho(f"warning: {text}", fg=typer.colors.YELLOW, err=True)


class Commands(TyperGroup):
    """Commands whose errors for people end in one line; the rest passes with its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say_error("stopped")
            sys.exit(130)
        except BrokenPipeError:  # `m6 ... | head`
            raise
        except Exception as error:
            text = explain(error)
            if text is None or os.environ.get(TRACEBACK) == "1":
                raise
            say_error(text)
            sys.exit(2)
