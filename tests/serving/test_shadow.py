"""Two versions side by side: the most changed queries first, texts escaped, both sides labelled."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from components.serving import shadow
from components.serving.ask import Model
from components.serving.shadow import compare_versions, comparison_page

FOUND = {
    "new": [[(0.9, "a"), (0.8, "b")], [(0.9, "c"), (0.7, "<b>d</b>")]],
    "old": [[(0.9, "a"), (0.8, "b")], [(0.9, "b"), (0.7, "c")]],
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the versions `new` and `old`, a corpus and two queries."""
    models = {name: Model(name, tmp_path / name, {"faq": "prompt"}) for name in FOUND}
    monkeypatch.setattr(shadow, "registered_model", lambda root, version: models[version])
    monkeypatch.setattr(shadow, "nearest", lambda model, *rest: FOUND[model.name])
    (tmp_path / "corpus.txt").write_text("a\nb\nc\n<b>d</b>\n")
    (tmp_path / "queries.jsonl").write_text('{"query": "same"}\n{"query": "changed"}\n')
    return tmp_path


def test_the_most_changed_first_with_both_ranks(root: Path) -> None:
    found = compare_versions(root, "new", "old", root / "queries.jsonl", root / "corpus.txt", "faq", 2)
    assert [(one.query, one.overlap, one.same_first) for one in found.queries] == [
        ("changed", 0.5, False),
        ("same", 1.0, True),
    ]
    assert found.queries[0].rows() == [
        (1, (0.9, "c", "there 2"), (0.9, "b", "only here")),
        (2, (0.7, "<b>d</b>", "only here"), (0.7, "c", "there 1")),
    ]
    assert found.summary(2) == "2 queries: 75 % of the best 2 documents are the same, the first one is for 1"
    page = comparison_page(found, 2)
    assert "&lt;b&gt;d&lt;/b&gt;" in page
    assert "<b>d" not in page
    assert page.index("changed") < page.index("<h2>same")


@pytest.mark.parametrize(
    ("versions", "task", "said"),
    [(("new", "new"), "faq", "are the same version"), (("new", "old"), "other", "--task other: unknown")],
)
def test_what_cannot_be_compared(root: Path, versions: tuple[str, str], task: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare_versions(root, *versions, root / "queries.jsonl", root / "corpus.txt", task, 2)
