"""The outline of an HTML page."""

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Tags that ask for something outside the page, section titles, and balance of the tags that matter."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.titles: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object") or any(name in ("src", "href") for name, _ in attrs):
            self.outside.append(tag)
        if tag in ("h2", "table", "svg", "div", "details"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "table", "svg", "div", "details"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)
