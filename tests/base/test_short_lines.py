from components.base.short_lines import MOST, describe_exception, shorten_line


def test_a_text_is_one_line_and_ends_in_an_ellipsis_where_it_was_cut() -> None:
    assert shorten_line(" two\r\n lines ", 9) == "two lines"
    assert (shorten_line("abcdef", 6), shorten_line("abcdefg", 6)) == ("abcdef", "abcde…")
    assert shorten_line(0.5, 60) == "0.5"


def test_an_exception_without_a_text_is_named_by_its_type() -> None:
    assert describe_exception(EOFError()) == "EOFError"
    assert len(describe_exception(ValueError("page " * 1000))) == MOST
