"""The pages of training: one frame (`page.html.j2`), everything escaped."""

from __future__ import annotations

import jinja2

from dtcseg import __version__


def render(template: str, **values: object) -> str:
    """Fill in one of `templates/`; it knows the version of dtcseg besides."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("dtcseg_training"), autoescape=True)
    return environment.get_template(template).render(version=__version__, **values)
