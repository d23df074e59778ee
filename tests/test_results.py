"""docs/results.md and README's table come from the JSON of the benchmarks, and say plainly what has not run."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from components.base.errors import UserError
from tests.samples import ROOT

ABOUT = {"date": "2026-01-02", "machine": "a CPU, 2 cores", "commit": "a" * 40, "dirty": "false", "seeds": 3}
VARIANT = {"family": "labels", "dev": 40.0, "test": 50.0, "cpu_seconds": 1234.0, "tokens": 5000.0}
COMPARED = {"difference": -2.0, "low": -3.0, "high": -1.0, "p": 0.01, "p_holm": 0.02, "verdict": "worse"}
FIGURES: dict[str, Any] = {
    "quality": {
        "ours_rate": 0.002,
        "ours_steps": 75,
        "ours_dev_at_0.002": 50.0,
        "ours_cpu_seconds": 700.0,
        "ours_mean": 55.0,
        "ours_unseen": 50.0,
        "ours_lee": 41.0,
        "sentence_transformers_rate": 0.001,
        "sentence_transformers_steps": 60,
        "sentence_transformers_cpu_seconds": 690.0,
        "sentence_transformers_mean": 52.0,
        "sentence_transformers_unseen": 49.0,
        "sentence_transformers_lee": 40.0,
        "diff_vs_sentence_transformers": 3.0,
        "diff_vs_sentence_transformers_low": 1.0,
        "diff_vs_sentence_transformers_high": 5.0,
        "diff_vs_sentence_transformers_unseen": 1.0,
        "diff_vs_sentence_transformers_unseen_low": -1.0,
        "diff_vs_sentence_transformers_unseen_high": 3.0,
    },
    "ablation": {
        "full_over_naive": 6.0,
        "full_over_naive_low": 4.0,
        "full_over_naive_high": 8.0,
        "variants": {
            "full": {**VARIANT, "family": "whole"},
            "hard_labels": {**VARIANT, **COMPARED, "best_on_dev": False},
            "guide": {**VARIANT, **COMPARED, "verdict": "no difference shown", "best_on_dev": True},
        },
        "about": {**ABOUT, "settings": {"train.steps": 36}},
    },
    "transfer": {
        "unseen": {
            "lee": {"base": 10.0, "trained": 40.0, "teacher": 50.0, "share": 0.75, "gain": 30.0}
            | {"gain_low": 28.0, "gain_high": 32.0}
        },
        "unseen_share": 0.75,
        "own": {
            "task": "boolq",
            "runs": [
                {"pairs": 300, "init_adapter": True, "before": 20.0, "score": 30.0, "cpu_seconds": 60.0, "gain": 10.0}
                | {"gain_low": 8.0, "gain_high": 12.0}
            ],
        },
        "about": {**ABOUT, "settings": {}},
    },
}


def run(folder: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    for name in names:
        (folder / f"{name}.json").write_text(json.dumps(FIGURES[name]))
    files = [part for name in results.COMMANDS for part in (f"--{name}", str(folder / f"{name}.json"))]
    monkeypatch.setattr(sys, "argv", ["results", *files, *more])
    results.main()


def test_the_page_has_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, ("quality", "ablation", "transfer"), monkeypatch)
    said = capsys.readouterr().out
    assert "| Embedding Foundry | 0.002 | 75 | 700 | 55.0 | 50.0 |" in said
    assert "| sentence-transformers | all test tasks | **+3.0** [+1.0, +5.0] |" in said
    assert "| sentence-transformers | unseen tasks | +1.0 [-1.0, +3.0] |" in said
    assert "| FlagEmbedding | all test tasks | not run yet |" in said
    assert "| lee | 41.0 | 40.0 |" in said
    assert "dev_at" not in said
    assert "| the full recipe over plain InfoNCE with naive negatives | **+6.0** [+4.0, +8.0] |" in said
    assert "| hard_labels | labels | 40.0 | 50.0 | **-2.0** [-3.0, -1.0] | 0.020 | worse | 1,234 | 5 |" in said
    assert "| guide (best on dev) |" in said
    assert "No difference to the baseline is shown for: guide." in said
    assert "2026-01-02, a CPU, 2 cores, commit aaaaaaaaaaaa, 3 seeds." in said
    assert "`train.steps=36`" in said
    assert "| lee | 10.0 | 40.0 | 50.0 | **+30.0** [+28.0, +32.0] | 75 % |" in said
    assert "| 300 | yes | 20.0 | 30.0 | **+10.0** [+8.0, +12.0] | 60 |" in said


def test_what_has_not_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, ("quality",), monkeypatch)
    said = capsys.readouterr().out
    assert "Not run yet: `make ablation`" in said
    assert "Not run yet: `python -m benchmarks.transfer" in said
    assert "Not run yet: `python -m benchmarks.quality_vs_peers" not in said


def test_the_readme_s_table_is_replaced_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    run(tmp_path, ("quality", "ablation", "transfer"), monkeypatch, "--readme", str(readme))
    text = readme.read_text()
    assert text.startswith(f"before\n{results.BEGIN}\n| mean over the test tasks")
    assert "\nNot run yet: ours minus FlagEmbedding, the same student, pairs and CPU seconds" in text
    assert text.endswith(f"{results.END}\nafter\n")
    assert "old" not in text
    assert "**+6.0** [+4.0, +8.0]" in text
    assert "commit aaaaaaaaaaaa" in text
    run(tmp_path, (), monkeypatch, "--readme", str(readme))
    assert readme.read_text() == text
    readme.write_text("no markers")
    with pytest.raises(UserError, match="once each"):
        run(tmp_path, (), monkeypatch, "--readme", str(readme))


def test_a_file_that_is_no_figures_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("[1")
    with pytest.raises(UserError, match=r"x\.json: not valid JSON"):
        results.read_figures(file)
    file.write_text("[1]")
    with pytest.raises(UserError, match=r"x\.json: no figures by name"):
        results.read_figures(file)


def test_the_readme_has_the_place_for_the_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(results.BEGIN) == text.count(results.END) == 1
