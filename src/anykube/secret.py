"""A value that does not print. Keys, tokens and key-bearing files travel in this and nowhere else."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Bytes that must not reach a plan, a log, a traceback or a command line.

    `reveal()` is the only way in, so that every use can be found by its name.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")
