"""docs/results.md, and README's table of results, from the JSON of the benchmarks.

    python -m benchmarks.results [--quality FILE] [--ablation FILE] [--transfer FILE] > docs/results.md
    python -m benchmarks.results [the same] --readme README.md     writes the lines between its two markers

A file that is not given, or not there, leaves "not run yet" in its section.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.files import whole_file

PEERS = {"sentence_transformers": "sentence-transformers", "flagembedding": "FlagEmbedding"}
SIDES = {"ours": "Embedding Foundry", **PEERS}
COMMANDS = {
    "quality": "python -m benchmarks.quality_vs_peers --json .cache/quality.json",
    "ablation": "make ablation",
    "transfer": "python -m benchmarks.transfer --json .cache/transfer.json",
}
NOT_A_TASK = ("rate", "steps", "cpu_seconds", "mean", "unseen", "seconds", "tokens", "training_cpu_seconds")
INGREDIENTS = {
    "full_over_naive": "the full recipe over plain InfoNCE with naive negatives",
    "margin": "the margin on negatives",
    "soft_labels": "soft labels of the teachers",
    "shots": "few-shot prefixes",
}
BEGIN, END = "<!-- results: begin, made by benchmarks/results.py -->", "<!-- results: end -->"
Figures = Mapping[str, Any]


def main() -> None:
    """Print the page, or write README's table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in COMMANDS:
        parser.add_argument(f"--{name}", type=Path, help=f"JSON of: {COMMANDS[name]}")
    parser.add_argument("--readme", type=Path, help="write the table between this file's markers")
    given = parser.parse_args()
    quality, ablation, transfer = (read_figures(getattr(given, name)) for name in COMMANDS)
    if given.readme:
        write_between(given.readme, "\n".join(headline_table(quality, ablation, transfer)))
    else:
        print("\n".join(page(quality, ablation, transfer)))


def read_figures(file: Path | None) -> Figures | None:
    """The figures of a JSON file; None when it is not given or not there. Raises UserError: it is no JSON object."""
    if file is None or not file.is_file():
        return None
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as problem:
        raise UserError(f"{file}: not valid JSON: {problem}; run the benchmark again") from None
    if not isinstance(figures, dict):
        raise UserError(f"{file}: no figures by name; give the file that the benchmark wrote")
    return figures


def page(quality: Figures | None, ablation: Figures | None, transfer: Figures | None) -> Iterator[str]:
    """The lines of docs/results.md."""
    yield "# Results: the recipe against peers, its ingredients, and tasks far from its training"
    yield ""
    yield "Made by `make results` (benchmarks/results.py) from the JSON of the benchmarks; not to be edited."
    yield "Scores are x 100, by the main measure of each task; 95 % intervals over test examples (paired) and seeds."
    yield ""
    sections = (
        ("Against peers", "quality", quality, quality_section),
        ("What each ingredient is worth", "ablation", ablation, ablation_section),
        ("Tasks far from the training data, and data of one's own", "transfer", transfer, transfer_section),
    )
    for title, name, figures, section in sections:
        yield f"## {title}"
        yield ""
        if figures is None:
            yield f"Not run yet: `{COMMANDS[name]}`"
        else:
            yield from about_lines(figures)
            yield from section(figures)
        yield ""


def about_lines(figures: Figures) -> Iterator[str]:
    """Machine, commit, date and settings."""
    about = figures.get("about")
    if not about:
        yield "The file does not say machine and commit."
        yield ""
        return
    changed = " (with changes that are in no commit)" if about["dirty"] == "true" else ""
    yield f"{about['date']}, {about['machine']}, commit {about['commit'][:12]}{changed}, {about['seeds']} seeds."
    if about["settings"]:
        yield "Settings: " + ", ".join(f"`{key}={value}`" for key, value in about["settings"].items()) + "."
    yield ""


def quality_section(figures: Figures) -> Iterator[str]:
    """Same student, pairs and CPU seconds: means, differences, tasks."""
    sides = [side for side in SIDES if f"{side}_mean" in figures]
    yield "The same student, training pairs, CPU seconds and test tasks; each side's learning rate chosen on dev."
    yield ""
    rows = []
    for side in sides:
        row = (("rate", "g"), ("steps", ".0f"), ("cpu_seconds", ",.0f"), ("mean", ".1f"), ("unseen", ".1f"))
        rows.append([SIDES[side], *(format(figures[f"{side}_{what}"], how) for what, how in row)])
    heads = ["side", "learning rate", "steps", "CPU s", "mean of the test tasks", "unseen tasks"]
    yield from table(heads, rows)
    yield ""
    rows = []
    for peer, name in PEERS.items():
        for suffix, of in (("", "all test tasks"), ("_unseen", "unseen tasks")):
            rows.append([name, of, interval(figures, f"diff_vs_{peer}{suffix}")])
    yield from table(["ours minus", "over", "difference"], rows)
    yield ""
    tasks = [name.removeprefix("ours_") for name in figures if is_task_of("ours", name)]
    rows = [[task, *(f"{figures[f'{side}_{task}']:.1f}" for side in sides)] for task in tasks]
    yield from table(["task", *(SIDES[side] for side in sides)], rows)


def is_task_of(side: str, name: str) -> bool:
    rest = name.removeprefix(f"{side}_")
    return rest != name and rest not in NOT_A_TASK and not rest.startswith("dev_at_")


def ablation_section(figures: Figures) -> Iterator[str]:
    """Ingredients, then every variant with its difference, p-value and cost."""
    yield from table(["with the ingredient minus without it", "difference"], ingredient_rows(figures))
    yield ""
    yield "Every variant against its baseline. p: two-sided, corrected by Holm within the family. Best on dev:"
    yield "the variant of the family, or the full recipe, that dev queries (without shots) choose; not test scores."
    yield "CPU s: retrieve to select_shots; texts that an earlier variant embedded are not embedded again."
    yield ""
    rows = []
    for name, one in figures["variants"].items():
        compared = "difference" in one
        rows.append(
            [
                name + (" (best on dev)" if one.get("best_on_dev") else ""),
                one["family"],
                f"{one['dev']:.1f}",
                f"{one['test']:.1f}",
                interval({**one, "difference_low": one["low"], "difference_high": one["high"]}, "difference")
                if compared
                else "",
                f"{one['p_holm']:.3f}" if compared else "",
                one.get("verdict", ""),
                f"{one['cpu_seconds']:,.0f}",
                f"{one['tokens'] / 1000:,.0f}",
            ]
        )
    yield from table(["variant", "family", "dev", "test", "difference", "p", "shown", "CPU s", "thousand tokens"], rows)
    useless = [name for name, one in figures["variants"].items() if one.get("verdict") == "no difference shown"]
    if useless:
        yield ""
        yield f"No difference to the baseline is shown for: {', '.join(useless)}."


def ingredient_rows(figures: Figures | None) -> list[list[str]]:
    return [[what, interval(figures, name)] for name, what in INGREDIENTS.items()]


def transfer_section(figures: Figures) -> Iterator[str]:
    """Unseen tasks, then what pairs of one's own add."""
    rows = [
        [
            task,
            *(f"{one[model]:.1f}" for model in ("base", "trained", "teacher")),
            interval(one, "gain"),
            f"{100 * one['share']:.0f} %",
        ]
        for task, one in figures["unseen"].items()
    ]
    yield from table(["unseen task", "base", "trained", "dense teacher", "trained minus base", "of the way"], rows)
    yield ""
    yield f"Mean: {100 * figures['unseen_share']:.0f} % of the way from the base to the teacher."
    yield ""
    own = figures["own"]
    yield f"Pairs of one's own: {own['task']}, which the starting point was not trained on."
    yield ""
    rows = [
        [
            f"{one['pairs']:,}",
            "yes" if one["init_adapter"] else "no",
            f"{one['before']:.1f}",
            f"{one['score']:.1f}",
            interval(one, "gain"),
            f"{one['cpu_seconds']:,.0f}",
        ]
        for one in own["runs"]
    ]
    yield from table(["pairs", "from the trained adapter", "starting point", "score", "gain", "CPU s"], rows)


def headline_table(quality: Figures | None, ablation: Figures | None, transfer: Figures | None) -> Iterator[str]:
    """README's table: a row a claim that was measured, and a line of what was not."""
    rows = [
        [f"ours minus {name}, the same student, pairs and CPU seconds", interval(quality, f"diff_vs_{peer}")]
        for peer, name in PEERS.items()
    ]
    rows += ingredient_rows(ablation)
    share = "not run yet" if transfer is None else f"{100 * transfer['unseen_share']:.0f} %"
    rows.append(["unseen tasks: of the way from base to dense teacher", share])
    missing = [claim for claim, value in rows if value == "not run yet"]
    if measured := [row for row in rows if row[0] not in missing]:
        yield from table(["mean over the test tasks, x 100", "[95 % interval]"], measured)
        yield ""
    if missing:
        yield f"Not run yet: {'; '.join(missing)}."
        yield ""
    dated = [one["about"] for one in (quality, ablation, transfer) if one and "about" in one]
    if dated:
        where = dict.fromkeys(f"{one['date']}, {one['machine']}, commit {one['commit'][:12]}" for one in dated)
        yield f"{'; '.join(where)}. All tables: [docs/results.md](docs/results.md)."
    else:
        yield "All tables: [docs/results.md](docs/results.md)."


def interval(figures: Figures | None, name: str) -> str:
    """A figure with its interval; bold where the interval is on one side of 0.

    >>> interval({"x": 1.25, "x_low": 0.5, "x_high": 2.0}, "x"), interval({}, "x")
    ('**+1.2** [+0.5, +2.0]', 'not run yet')
    """
    if figures is None or name not in figures:
        return "not run yet"
    value, low, high = (figures[f"{name}{end}"] for end in ("", "_low", "_high"))
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{value:+.1f}{mark} [{low:+.1f}, {high:+.1f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def write_between(file: Path, text: str) -> None:
    """Replace what is between the markers of a file. Raises UserError: it has not both, once each."""
    content = file.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise UserError(f"{file}: needs the lines {BEGIN!r} and {END!r}, once each; put them where the table belongs")
    before, after = content.partition(BEGIN)[0], content.partition(END)[2]
    with whole_file(file) as partial:
        partial.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as problem:
        sys.exit(f"error: {problem}")
