"""Stage `fetch`: download or copy every configured source and model, verify it, convert sources to Parquet.

Writes `sources/NAME.parquet`, `models/NAME/` (or `models/NAME/hub.json` for a model that stays in the hub cache) and
`data_card.json`: origin, version, sha256, licence and row counts of each. Local files must match the list
that stage `local_files` wrote; if they do not, the copies beside it are read. Before the first byte comes, every hub
repository is checked (hub_files.py). A killed fetch continues where it was: finished sources are kept in the stage's
scratch, whole files in the hub's cache.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from components.base.checkout import home
from components.base.errors import UserError
from components.base.files import whole_file
from components.base.progress import progress
from components.config import HubOrigin, ModelParams, SourceParams
from components.data.formats import read_source
from components.data.hub_files import download_hub_files, require_hub_files
from components.data.local_files import Found, Listing, listed_files
from components.data.origins import Files, collect
from components.stage.context import StageContext

log = logging.getLogger(__name__)

Own = tuple[Found, Listing] | None  # files of a local origin


def run(context: StageContext) -> dict[str, float]:
    """Fetch everything; returns the number of rows and models. Raises UserError naming the parameter key."""
    params = context.config.fetch
    require_hub_files(params)
    card: dict[str, Any] = {"sources": {}, "models": {}}
    named: list[tuple[str, str, Any]] = [("models", name, model) for name, model in params.models.items()]
    named += [("sources", name, source) for name, source in params.sources.items()]
    for group, name, item in progress(named, "fetch", unit="item"):
        key = f"fetch.{group}.{name}.origin"
        place = context.work / "own" / group / name
        with listed_files(item, key, context.outputs, home(context.cache.parent), place) as own:
            if group == "sources":
                card[group][name] = _source_once(item, key, context.work / name, context.cache, own)
                log.info("source %s: %s", name, _counts(card[group][name]))
            else:
                folder = context.out / group / name
                card[group][name] = fetch_model(item, key, folder, context.cache, context.config.seed, own)
                log.info("model %s: %s", name, card[group][name]["version"])
    (context.out / "sources").mkdir(exist_ok=True)
    for name in params.sources:
        shutil.move(context.work / f"{name}.parquet", context.out / "sources" / f"{name}.parquet")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (context.out / "data_card.json").write_text(text, encoding="utf-8")
    rows = sum(entry["rows_kept"] for entry in card["sources"].values())
    return {"sources": len(params.sources), "models": len(params.models), "rows": rows}


def _source_once(params: SourceParams, key: str, target: Path, cache: Path, own: Own = None) -> dict[str, Any]:
    """`fetch_source`, unless a run that was killed had finished this source; its entry beside the table says so."""
    done = target.with_name(f"{target.name}.json")
    if done.is_file() and target.with_name(f"{target.name}.parquet").is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    entry = fetch_source(params, key, target, cache, own)
    with whole_file(done) as partial:
        partial.write_text(json.dumps(entry), encoding="utf-8")
    return entry


def fetch_source(params: SourceParams, key: str, target: Path, cache: Path, own: Own = None) -> dict[str, Any]:
    """Write `target`.parquet with the standard columns and return the source's entry in the data card."""
    files = collect(params, key, cache, own)
    if files.left_out:
        print(f"{key}.path: skipped, no extension of format {params.format}: {', '.join(files.left_out)}")
    try:
        rows, counts = read_source(files, params)
    except UserError as problem:
        raise UserError(f"{key.removesuffix('.origin')}: {problem}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(target.with_name(f"{target.name}.parquet"), compression="zstd", statistics=False)
    for line in counts.lines():
        print(f"{key.removesuffix('.origin')}: {line}")
    entry = _entry(params, files) | {"columns": rows.columns, "rows_read": counts.read, "rows_kept": len(rows)}
    return entry | counts.entry()


def fetch_model(params: ModelParams, key: str, target: Path, cache: Path, seed: int, own: Own = None) -> dict[str, Any]:
    """Fill the folder `target` with the model and return its entry in the data card; `seed` is for random weights."""
    if isinstance(params.origin, HubOrigin):
        _, names, _ = download_hub_files(params.origin, key, "model")
        target.mkdir(parents=True)
        pointer = {"repo": params.origin.repo, "revision": params.origin.revision, "files": names}
        (target / "hub.json").write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")
        return {"origin": "hub", "version": f"{params.origin.repo}@{params.origin.revision}", **_licence(params)}
    files = collect(params, key, cache, own)
    if params.format == "gguf":
        from components.data.gguf import convert

        convert(_single(files, key, "GGUF file"), target, params.layers)
    elif params.shape:
        from components.data.random_model import write_random_mistral
        from components.model.tokenizer_mistral import convert as convert_tokenizer

        write_random_mistral(target, params.shape.model_dump(), seed)
        convert_tokenizer(_single(files, key, "tokenizer.model"), target)
    else:
        for name, path in zip(files.names, files.paths(), strict=True):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
        settings = "adapter_config.json" if params.format == "adapter" else "config.json"
        if not (target / settings).is_file():
            raise UserError(f"{key}.path: no {settings} in it; name the folder that holds the model")
    shape = {"shape": params.shape.model_dump()} if params.shape else {}
    return _entry(params, files) | {"format": params.format, "layers": params.layers} | shape


def _single(files: Files, key: str, what: str) -> Path:
    if len(files.names) != 1:
        raise UserError(f"{key}.path: names {len(files.names)} files, expected one {what}")
    return files.paths()[0]


def _counts(entry: dict[str, Any]) -> str:
    """Log text, such as `9,427 rows read, 9,420 kept; dropped: 7 empty`."""
    dropped = {
        key.removeprefix("rows_dropped_"): n for key, n in entry.items() if key.startswith("rows_dropped_") and n
    }
    out = "; dropped: " + ", ".join(f"{number:,} {why}" for why, number in dropped.items()) if dropped else ""
    return f"{entry['rows_read']:,} rows read, {entry['rows_kept']:,} kept{out}"


def _entry(params: SourceParams | ModelParams, files: Files) -> dict[str, Any]:
    path = params.origin.path
    return {
        "origin": params.origin.kind,
        "version": files.version,
        "path": path,
        "sha256": files.sha256,
        **_licence(params),
    }


def _licence(params: SourceParams | ModelParams) -> dict[str, str]:
    return {"licence": params.origin.licence}
