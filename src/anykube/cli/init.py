"""anykube init."""

from __future__ import annotations


def command() -> None:
    """Written next."""
