"""Excel's CSV in the code page of its machine: the letters tell which page it is."""

from pathlib import Path

import pytest

from components.data.guess_encoding import guess_encoding
from components.data.inspection import inspect_path

TEXTS = {
    "cp932": ("返品はどうすればできますか。", "七日以内にカウンターで手続きしてください。"),
    "gb18030": ("如何办理退货？", "请在七天内联系客服。"),
    "big5": ("如何辦理退貨？", "請在七天內聯繫客服。"),
    "cp949": ("반품은 어떻게 하나요?", "칠일 이내에 고객센터로 연락하세요."),
    "cp1251": ("Как вернуть товар?", "Обратитесь в службу поддержки в течение семи дней."),
    "cp1250": ("Jak zwrócić produkt?", "Skontaktuj się z obsługą klienta, żeby złożyć wniosek."),
    "cp1253": ("Πώς επιστρέφω το προϊόν?", "Επικοινωνήστε μαζί μας"),
    "cp1252": ("Wie schicke ich es zurück?", "Über unser Formular für größere Geräte – „jetzt“."),
}


@pytest.mark.parametrize("page", TEXTS)
def test_a_code_page_is_known_by_its_letters(tmp_path: Path, page: str) -> None:
    query, document = TEXTS[page]
    rows = "".join(f"{query} {n};{document} {n}\r\n" for n in range(20))
    (tmp_path / "faq.csv").write_bytes(f"query;document\r\n{rows}".encode(page))
    finding = inspect_path(tmp_path / "faq.csv")
    assert finding.settings["encoding"] == ["utf-8", page]
    assert finding.rows.row(0) == (f"{query} 0", f"{document} 0")


def test_utf_encodings_are_known_by_their_bytes() -> None:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        assert guess_encoding(Path("a.csv"), ("query,document\n" * 20).encode(encoding)) == encoding
