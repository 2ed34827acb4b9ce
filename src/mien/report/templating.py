"""Loads the pages' templates: HTML that holds everything it shows, needs no network and runs no script."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mien.datasets.dataset import plural
from mien.images.formats import printable


@cache
def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("mien.report"), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"], environment.filters["plural"] = printable, plural
    return environment


def template(name: str) -> Template:
    """Loads one of the files in `templates`, named without its ending."""
    return _environment().get_template(f"{name}.html.j2")
