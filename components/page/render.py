"""HTML pages from a room's own templates, which extend base.html.jinja: one shell, one palette for light, dark, print.

A page is one file: no script, nothing loaded from elsewhere. The same values give the same bytes.
"""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from components.page.svg import split_words


def render_page(package: str, template: str, **values: object) -> str:
    """`template` of `package`/templates with these values; `title` is one of them. Texts are escaped."""
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("components.page")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["spaced"] = split_words
    return environment.get_template(template).render(values)
