"""Queries requested of a source and obtained, with the reasons: a line in the log, metrics, and the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.data.assign import SPLITS

# By reason: what happened to how many, in words for the log.
REASONS = {
    "no_positive": "{} queries without a use: no score above 0 (or of positive_score and more)",
    "stated_elsewhere": "{} queries that the source states for a split not asked for",
    "shared_answers": "{} queries left out, as a group that shares an answer was cut",
    "whole_groups": "dev and test have {} fewer, as queries that share a text stay together",
    "overruled": "{} queries follow a stricter split than the source states, as they share a text with it",
    "answers_in_both": "{} documents are answers in training and in test: few answers have most queries, so the split "
    "is by query",
    "hard_documents": "{} training queries gave way to hard documents of dev and test",
    "fewer_documents": "{} of the documents asked for are missing: the others answer training queries, repeat an "
    "answer, or are far from every held-out query",
    "decontaminated": "{} queries removed with texts that match an evaluation text",
    "singletons": "{} texts left out, the only ones of their label",
    "other_labels": "{} texts have several labels, the first counts",
    "bare_labels": "{} labels have no letters and are the documents as they are: give them names with the source's "
    "`values`, or set positives: example",
    "variants": "{} texts differ from another by case, spaces or id only; both are kept, in one split",
    "respelled": "{} rows spell the text of their id in another way; the first counts",
    "own_instructions": "{} training queries have an instruction of the source's own, in place of the task's",
    "instructions": "these are {} instructions; evaluation uses the task's",
    "further_instructions": "{} rows give a query a further instruction; the first counts",
    "unused_instructions": "{} instructions of rows are not read: symmetric tasks and labelled texts have the task's",
    "too_many_instructions": "{} instructions of rows are not read, as over 1,000 of them differ",
    "repeated_rows": "{} rows repeat a pair",
    "other_grades": "{} pairs have several grades, the best counts",
}


COPIES_CURE = (
    "if they are variations of one template, raise prepare.decontaminate.threshold and containment (1.0 removes only "
    "texts that hold a whole evaluation text)"
)
SAME_CURE = "they are in the test data of this or another task: set its test: 0, or remove the repeated rows"


@dataclass
class Account:
    """Numbers of one task: distinct queries (or texts) of the source, asked and given by split, counts by reason."""

    queries: int
    asked: dict[str, int]
    given: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    because: dict[str, int] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)  # where fewer than asked were to be given
    stated: dict[str, int] = field(default_factory=dict)  # queries by the split that the source states
    fit: dict[str, int] = field(default_factory=dict)  # queries that each split could use
    test_rows: int = 0  # of the evaluation table: pairs, where a query has several
    shared: frozenset[str] = frozenset()  # ids of documents that are answers in training and in test

    def note(self, **counts: int) -> None:
        """Add counts by reason; a count of 0 is no reason."""
        for reason, count in counts.items():
            if count:
                self.because[reason] = self.because.get(reason, 0) + int(count)

    @property
    def useful(self) -> int:
        """Queries that a split can use."""
        return self.queries - self.because.get("no_positive", 0)

    def plan(self, sizes: Mapping[str, int]) -> None:
        """Keep what each split was to get, where that is fewer than asked."""
        if any(sizes[split] < self.asked[split] for split in SPLITS):
            self.planned = dict(sizes)

    def line(self) -> str:
        """`train 40 (50 requested), dev ...; REASON; REASON`."""
        counts = [f"{split} {self.given[split]:,} ({self.asked[split]:,} requested)" for split in SPLITS]
        if self.test_rows not in (0, self.given["test"]):
            counts.append(f"{self.test_rows:,} rows of test")
        return "; ".join([", ".join(counts), *self.reasons()])

    def reasons(self) -> list[str]:
        """In words, in the order of REASONS."""
        found = []
        if self.planned:
            found.append(
                f"{self.useful:,} queries for {sum(self.asked.values()):,}, so "
                + ", ".join(f"{split} {self.planned[split]:,}" for split in SPLITS if self.asked[split])
            )
        return found + [REASONS[name].format(f"{self.because[name]:,}") for name in REASONS if name in self.because]

    @property
    def mostly_removed(self) -> bool:
        """Whether decontamination took more than it left."""
        return self.because.get("decontaminated", 0) > self.given["train"] + self.given["dev"]

    def metrics(self, task: str) -> dict[str, float]:
        """By `TASK.REASON`."""
        return {f"{task}.{reason}": float(count) for reason, count in self.because.items()}

    def listed(self) -> dict[str, object]:
        """For the manifest."""
        return {"queries": self.queries, "asked": self.asked, "given": self.given, "because": self.because}

    def refusal(self, split: str, removed: Mapping[str, int]) -> str:
        """Why a split has no queries, and what cures it.

        Args:
            removed: texts that decontamination removed, by method.
        """
        stated = {other: count for other, count in self.stated.items() if other != split and count}
        if self.because.get("decontaminated", 0) and split != "test":
            methods = ", ".join(f"{count:,} {method}" for method, count in removed.items() if count)
            copies = removed.get("near", 0) + removed.get("contains", 0)
            return f"all {split} texts match an evaluation text ({methods}); {COPIES_CURE if copies else SAME_CURE}"
        if self.because.get("singletons", 0) and split != "test":
            return "each of its texts is the only one of its label; set positives: label, or add texts of the labels"
        if not self.useful:
            return (
                f"none of {self.queries:,} queries has a score above 0 (of positive_score and more); correct the scores"
            )
        if self.fit.get(split) == 0:
            return "none of its queries has a positive and a negative, which a ranking needs; add some of each"
        if overruled := self.because.get("overruled", 0):
            return (
                f"{overruled:,} queries share a text (but for case, spaces and character forms) with a query of a "
                "stricter split in its column split; correct the column, or leave it out"
            )
        if sum(stated.values()) >= self.useful:
            told = " and ".join(f"{count:,} for {other}" for other, count in stated.items())
            return f"its column split states {told} queries, none for {split}; correct it, or set {split}: 0"
        splits = [other for other in SPLITS if self.asked[other]]
        if self.useful < len(splits):
            return f"it has {self.useful:,} queries for {', '.join(splits)}; add rows, or set {split}: 0"
        others = [f"{other} ({self.given[other]:,})" for other in SPLITS if other != split and self.given[other]]
        return (
            f"its {self.useful:,} queries share documents, so they stay together and went to "
            f"{' and '.join(others) or 'no split'}; ask for fewer there, or set {split}: 0"
        )
