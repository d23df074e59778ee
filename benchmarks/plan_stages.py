"""Does `components.plan` tell the truth about host memory? The peak of stages at two sizes against the plan's.

    python -m benchmarks.plan_stages [--quick] [--json FILE] [--folder DIR] [--stages fetch,prepare,...]
        [--documents N N]

Synthetic tables of realistic lengths, from a seed (benchmarks/scale_mine.py, scale_score.py, scale_prepare.py): a task
with half of the documents, a query for every fifth document, 50 candidates a query; fetch and prepare have one source
of two documents a query, evaluate one retrieval task of 500 queries. Each stage runs as it is in a process of its own,
with malloc set as `foundry stage` sets it; models alone are stubs (benchmarks/plan_stubs.py). Peak: the most private
memory (anonymous and shared pages, read from the kernel every 5 ms). Pages of memory-mapped files are not in it, as the
kernel can drop them; its own peak, which has them, is printed too.

The plan is given the tables' counts and mean lengths, as it is after `prepare`, and this machine's CPU as device.

Keys: plan_memory_error (largest of all stages and sizes, |plan / peak - 1|), STAGE_plan_error,
STAGE_cpu_seconds_per_million (of the larger run: pairs of score and mine, rows of the others).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import plan_stubs, scale_mine, scale_prepare, scale_score
from benchmarks.plan_stubs import HIDDEN, retrieve_params
from benchmarks.scale_stage import DEPTH, peak_memory
from components.base.machine import keep_freed_memory
from components.config import Config, parse_config
from components.plan import host
from components.plan.devices import GIB, Device
from components.plan.host import CHARACTERS
from components.plan.tokens import TaskTexts
from tests.samples import small_parameters

STAGES = ("fetch", "prepare", "retrieve", "score", "mine", "select_shots", "evaluate")
APART = ("fetch", "prepare", "evaluate")  # stages with tables of their own; the others share one set
DOCUMENTS = (150_000, 600_000)


def run_stage(stage: str, folder: Path, documents: int) -> None:
    """One stage in this process; prints the kernel's peak (GiB) and CPU seconds as JSON."""
    keep_freed_memory()
    start = time.process_time()
    if stage == "prepare":
        scale_prepare.run_prepare(folder, documents // 2)
    elif stage == "score":
        scale_score.run_stage(folder)
    elif stage == "mine":
        scale_mine.run_stage(folder)
    else:
        getattr(plan_stubs, f"run_{stage}")(folder)
    print(json.dumps({"resident_gib": peak_memory(), "cpu_seconds": time.process_time() - start}))


def private_memory(process: int) -> int:
    """Bytes of anonymous and shared pages; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        return 1024 * sum(int(status.split(f"{name}:")[1].split()[0]) for name in ("RssAnon", "RssShmem"))
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


def measured(stage: str, folder: Path, documents: int) -> dict[str, float]:
    """A stage in a process of its own: peak_gib (private), resident_gib, cpu_seconds."""
    command = [sys.executable, "-m", "benchmarks.plan_stages", "--run", stage, "--folder", str(folder)]
    command += ["--documents", str(documents), str(documents)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    try:
        while running.poll() is None:
            peak = max(peak, private_memory(running.pid))
            time.sleep(0.005)
    finally:
        running.kill()
        out, error = running.communicate()
    if running.returncode:
        raise SystemExit(f"error: {stage} failed: {error[-2000:]}")
    found = {"peak_gib": peak / GIB, **json.loads(out.splitlines()[-1])}
    print(f"{stage}, {documents:,} documents: {found}", file=sys.stderr, flush=True)
    return found


def task_texts(name: str, queries: pl.DataFrame, documents: pl.DataFrame) -> TaskTexts:
    """One task of the plan, from its texts' numbers and mean lengths in bytes (columns number, bytes)."""
    asked, query = queries.row(0)
    number, document = documents.row(0)
    dev = min(scale_mine.DEV, asked // 4)
    lengths = (query / CHARACTERS, document / CHARACTERS)
    return TaskTexts(name, asked - dev, dev, number, *lengths, *lengths, 20, 100, False, 1.0)


def counted(table: Path, column: str, task: str | None = None, distinct: bool = False) -> pl.DataFrame:
    """number, bytes (the mean) of the texts in a table."""
    rows = pl.scan_parquet(table)
    texts = (rows if task is None else rows.filter(pl.col("task") == task)).select(text=column)
    texts = texts.unique() if distinct else texts
    return texts.select(number=pl.len(), bytes=pl.col("text").str.len_bytes().mean()).collect()


def _lengths(texts: pl.DataFrame) -> pl.DataFrame:
    return texts.select(number=pl.len(), bytes=pl.col("text").str.len_bytes().mean())


def _one(queries: pl.DataFrame, documents: pl.DataFrame) -> list[TaskTexts]:
    return [task_texts("large", queries, documents)]


def planned(tasks: list[TaskTexts]) -> dict[str, float]:
    """GiB of host memory by stage."""
    config: Config = parse_config(small_parameters(), "plan")
    one_list = retrieve_params().model_copy(update={"bm25": None})  # score and mine are given DEPTH pairs a query
    score = config.score.model_copy(update={"reranker": "cross_encoder"})
    config = config.model_copy(update={"retrieve": one_list, "score": score, "threads": 0})
    # BM25 shares no candidate with random vectors: a query has twice DEPTH, which `pairs_each` says of this depth.
    apart = retrieve_params().model_copy(update={"depth": round(2 * DEPTH / 1.67)})
    both = config.model_copy(update={"retrieve": apart})
    cpu = Device("cpu", 0, 1e9, is_gpu=False)
    texts = tasks[0].documents + tasks[0].queries + tasks[0].dev
    found = {
        "fetch": host.fetch_memory([tasks]),
        "select_shots": host.select_shots_memory(tasks, cpu),
        "evaluate": host.evaluate_memory(texts, host.task_characters(tasks[0]), texts, HIDDEN, cpu),
        "prepare": host.prepare_memory(tasks),
        "retrieve": host.retrieve_memory(both, tasks, HIDDEN, cpu),
        "score": host.score_memory(config, tasks, HIDDEN, cpu),
        "mine": host.mine_memory(config, tasks, cpu),
    }
    return {stage: memory / GIB for stage, memory in found.items()}


def measure(stages: Sequence[str], documents: int, place: Path) -> dict[str, dict[str, float]]:
    """By stage: what `measured` returns, and plan_gib, at this size."""
    found: dict[str, dict[str, float]] = {}
    if "prepare" in stages:
        scale_prepare.write_sources(place / "own" / "outputs" / "fetch", documents // 2)
        source = place / "own" / "outputs" / "fetch" / "sources" / "large.parquet"
        task = task_texts("large", counted(source, "query", distinct=True), counted(source, "document"))
        found["prepare"] = measured("prepare", place / "own", documents) | {"plan_gib": planned([task])["prepare"]}
    if "fetch" in stages:
        own = [_lengths(texts) for texts in plan_stubs.make_source(place / "fetch", documents)]
        found["fetch"] = measured("fetch", place / "fetch", documents) | {"plan_gib": planned(_one(*own))["fetch"]}
    if "evaluate" in stages:
        plan_stubs.make_benchmark(place / "evaluate" / "outputs", documents)
        folder = place / "evaluate" / "outputs" / "prepare" / "benchmark"
        own = [_lengths(pl.read_parquet(folder / f"find.{table}.parquet")) for table in ("queries", "corpus")]
        plan = planned(_one(*own))["evaluate"]
        found["evaluate"] = measured("evaluate", place / "evaluate", documents) | {"plan_gib": plan}
    if set(stages) - set(APART):
        ranges = scale_mine.make_prepared(place / "prepare", documents, documents // 5)
        files = [place / "prepare" / f"{name}.parquet" for name in ("queries", "corpus")]
        plan = planned([task_texts(name, *(counted(file, "text", name) for file in files)) for name in ranges])
    if "select_shots" in stages:
        (place / "shots" / "outputs").mkdir(parents=True)
        (place / "shots" / "outputs" / "prepare").symlink_to(place / "prepare")
        plan_stubs.make_tasks(place / "prepare")
        own = measured("select_shots", place / "shots", documents)
        found["select_shots"] = own | {"plan_gib": plan["select_shots"]}
    if "mine" in stages:
        pairs = scale_mine.make_scores(place, ranges)
        found["mine"] = measured("mine", place, documents) | {"plan_gib": plan["mine"], "pairs": pairs}
    if "retrieve" in stages:
        found["retrieve"] = measured("retrieve", place, documents) | {"plan_gib": plan["retrieve"]}
    if "score" in stages:
        for name in ("retrieve", "score", "work"):
            shutil.rmtree(place / name, ignore_errors=True)
        pairs = scale_score.make_candidates(place, ranges)
        found["score"] = measured("score", place, documents) | {"plan_gib": plan["score"], "pairs": pairs}
    return found


def report(stages: Sequence[str], sizes: Sequence[int], found: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Print a row a stage and size; returns the figures."""
    print("| stage | documents | plan GiB | private peak GiB | plan / peak | kernel's peak GiB | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    figures: dict[str, float] = {}
    for stage in stages:
        for documents, own in zip(sizes, (size[stage] for size in found), strict=True):
            ratio = own["plan_gib"] / own["peak_gib"]
            cells = f"{own['plan_gib']:.2f} | {own['peak_gib']:.2f} | {ratio:.2f} | {own['resident_gib']:.2f}"
            print(f"| {stage} | {documents:,} | {cells} | {own['cpu_seconds']:.0f} |", flush=True)
            figures[f"{stage}_plan_error"] = max(figures.get(f"{stage}_plan_error", 0.0), abs(ratio - 1))
        rows = own.get("pairs", documents * (1.5 if stage == "prepare" else 1.2))
        figures[f"{stage}_cpu_seconds_per_million"] = 1e6 * own["cpu_seconds"] / rows
    errors = [value for name, value in figures.items() if name.endswith("_plan_error")]
    return {"plan_memory_error": max(errors), **figures}


def main() -> None:
    """Measure both sizes, print, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the tables go (some GiB); a temporary folder when empty")
    parser.add_argument("--stages", default=",".join(STAGES), help="separated by commas")
    parser.add_argument("--documents", type=int, nargs=2, default=list(DOCUMENTS))
    parser.add_argument("--run", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run_stage(given.run, given.folder, given.documents[0])
        return
    stages, found = given.stages.split(","), []
    if unknown := sorted(set(stages) - set(STAGES)):
        parser.error(f"--stages: {unknown[0]!r}; must be of {', '.join(STAGES)}")
    sizes = [size // (10 if given.quick else 1) for size in given.documents]
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            found.append(measure(stages, size, Path(place)))
    figures = report(stages, sizes, found)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
