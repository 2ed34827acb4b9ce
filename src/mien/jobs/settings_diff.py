"""Names the settings in which two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GONE_FIELD = "which this version of mien does not have"
NEW_FIELD = "which the run that began it did not have"
SHORT = 40  # characters of a value that are shown


def settings_diff(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists the fields in which two nested sets of settings differ, each with both values where these are short.

    A field that only one of them has is named as such: a version of mien may know more fields than another.
    """
    return list(_differing(before, now, ""))


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key in sorted({*before, *now}):
        name = f"{prefix}{key}"
        if key not in now:
            yield f"{name} ({GONE_FIELD if name.startswith('recipe.') else 'given before, not now'})"
        elif key not in before:
            yield f"{name} ({NEW_FIELD if name.startswith('recipe.') else 'not given before'})"
        elif isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _differing(before[key], now[key], f"{name}.")
        elif _as_json(before[key]) != _as_json(now[key]):
            yield f"{name}{_values(before[key], now[key])}"


def _as_json(value: Any) -> Any:
    """Tuples are lists in a JSON file."""
    return [_as_json(one) for one in value] if isinstance(value, (list, tuple)) else value


def _values(before: Any, now: Any) -> str:
    shown = [str(value) for value in (before, now)]
    is_plain = all(isinstance(value, (str, int, float, bool, list, tuple)) for value in (before, now))
    return f" ({shown[0]} before, {shown[1]} now)" if is_plain and max(map(len, shown)) <= SHORT else ""
