"""Texts as everything can hold them: JSON may bring half a character, which UTF-8, databases and services refuse."""

from dataclasses import fields, is_dataclass, replace
from typing import Any


def readable(value: Any) -> Any:
    """A value with every text in it as UTF-8 can hold it: half a character (a lone surrogate) is written by its number.

    Args:
        value: A text; or an object of JSON, a tuple or a dataclass, of which every text is taken. Anything else stays as it is.
    """
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {readable(name): readable(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(readable(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: readable(getattr(value, each.name)) for each in fields(value)})
    return value
