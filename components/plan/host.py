"""Host memory of the stages that hold tables, texts or models: counted from their data structures.

Bytes of private memory. Pages of memory-mapped files (texts, vectors, the key catalog) are not in it: the kernel drops
them when it needs the room. `python -m benchmarks.plan_stages` compares prepare, retrieve, score and mine with runs.
"""

from components.base.threads import worker_count
from components.config import Config
from components.data.formats import ROWS_AT_ONCE
from components.mining.sample import MOST as SAMPLE
from components.mining.sketches import CHUNK as SKETCHED
from components.mining.task import PAIRS_AT_ONCE
from components.plan.devices import GIB, Device
from components.plan.tokens import TaskTexts
from components.search.bm25 import CHUNK as ASKED
from components.search.bm25 import SCORES
from components.search.exact import QUERY_BLOCK
from components.search.stream import DOCUMENT_BLOCK, GROUP, GROUP_BYTES
from components.teacher.pairs import BLOCK_QUERIES
from components.teacher.rescoring import BY_DOCUMENT, PAIRS_A_SHARD

CHARACTERS = 4.5  # per token
FETCH = 0.2 * GIB  # a process without torch
FETCHED = 600  # a row of a source as plain values, without its text
TABLE = 1.0  # copies of a source's text
VIEWS = 40  # a row of a table with two texts, without the texts
TRIGRAM = 150  # a word of a dev text: its trigram, in a set and in the index
MTEB = 0.2 * GIB  # mteb and what it imports
STRING = 200  # a text as a Python string, in a list, and in a set of those that are known
VECTORS = 3  # of a task's: of the store, in the order that is asked for, and normalised
WORD = 6.0  # characters of a word and the space after it
PROCESS = 0.31 * GIB  # Python with torch, polars and mlflow, and what their threads keep: measured on a CPU
CUDA_PROCESS = 1.5 * GIB  # the same with CUDA's host side: assumed
PREPARE = 0.35 * GIB  # a process without torch, and decontamination's blocks
COPIES = 3.0  # of the largest task's text in prepare: the source's rows, the prepared ones, and those that are joined
DISTINCT = 150  # a text that is compared with others: its digest in a dictionary, numbers, its group
ROW = 100  # a row of corpus and queries, without text: row, task and split (36), once more while filtered; qrels (16)
PAIR = 420  # a pair at work: the 73 bytes of a row of teacher_scores.parquet, joined, cast, checked, queued and written
FUSED = 500  # a candidate in the fusion: two rankings of 32 bytes, the fused table, and its 48 bytes, as PAIR
SKETCH = 264 + 60  # a document of the task at work: its sketches; its row and label, read and filtered
FACT = 500  # a candidate in the part at work: the 120 bytes of its facts, joined, judged, sorted and written
SAMPLED = 120 * 3  # a candidate of the report's sample: its facts in parts, in one table, and drawn
SPLIT_WORD = 110  # a word that is sketched: its text, place, hash and letters, and the places and hashes of trigrams
BM25_WORD = 9  # its number in a list, which malloc keeps when it is freed
BM25_POSTING = 20  # a word of a document, once: score, document and word, and the first two sorted
FOUND = 12  # a hit: document and score
DIGEST = 28 * 3  # a text that is compared with others: digest, part and row; concatenated and made unique
KEY = 116  # a key of the vector store while its catalog is written: 48 bytes twice, order, and the share not in it yet
SIDE = 60  # a row of the task at work in score: first row of its text, length, and its digest while they are compared


def process_memory(device: Device) -> float:
    """A stage's process before it has read anything."""
    return CUDA_PROCESS if device.is_gpu else PROCESS


def task_characters(task: TaskTexts) -> float:
    """Characters of all texts of a task."""
    tokens = task.documents * task.document_tokens + (task.queries + task.dev) * task.query_tokens
    return CHARACTERS * tokens


def pairs_each(config: Config) -> float:
    """Candidates per query: the union of the retrievers' lists, which overlap by about a third."""
    lists = len(config.retrieve.dense) + (config.retrieve.bm25 is not None)
    return config.retrieve.depth * (1 + 0.67 * (lists - 1))


def fetch_memory(sources: list[list[TaskTexts]]) -> float:
    """The largest source: its pairs in one table, and those that are plain values. A pair repeats its query's text.

    Args:
        sources: the tasks of each source.
    """
    largest = 0.0
    for tasks in sources:
        pairs = sum(task.documents for task in tasks)
        text = sum(CHARACTERS * task.documents * (task.document_tokens + task.query_tokens) for task in tasks)
        held = min(ROWS_AT_ONCE, pairs) * (FETCHED + text / max(1, pairs))
        largest = max(largest, TABLE * text + VIEWS * pairs + held)
    return FETCH + largest


def select_shots_memory(tasks: list[TaskTexts], device: Device) -> float:
    """Rows, the texts of the task at work, and the dev texts that no shot may repeat."""
    largest = max(task_characters(task) + VIEWS * _rows([task]) for task in tasks)
    dev = sum(task.dev * (1 + CHARACTERS * task.query_tokens / WORD) for task in tasks)
    return process_memory(device) + ROW * _rows(tasks) + largest + TRIGRAM * dev


def evaluate_memory(texts: float, characters: float, largest: float, hidden: int, device: Device) -> float:
    """All texts of the benchmark as Python strings, and the vectors of a task while they are scored.

    Args:
        texts: distinct texts of all tasks; characters: of all of them; largest: texts of the largest task.
        hidden: numbers of a vector.
    """
    return process_memory(device) + MTEB + characters + STRING * texts + VECTORS * 4 * hidden * largest


def prepare_memory(tasks: list[TaskTexts]) -> float:
    """The largest task; the others wait on disk."""
    return PREPARE + max(COPIES * task_characters(task) + DISTINCT * _rows([task]) for task in tasks)


def _rows(tasks: list[TaskTexts]) -> int:
    return sum(task.documents + task.queries + task.dev for task in tasks)


def _block_pairs(tasks: list[TaskTexts], each: float) -> float:
    """Pairs of the block of queries at work."""
    return min(BLOCK_QUERIES, max(task.queries + task.dev for task in tasks)) * each


def retrieve_memory(config: Config, tasks: list[TaskTexts], hidden: int, device: Device) -> float:
    """Rows, the stores' keys, and the search of the largest task or a block of its pairs.

    Args:
        hidden: the widest vector of the dense teachers.
    """
    rows, threads = _rows(tasks), worker_count(config.threads)
    dense, lexical = len(config.retrieve.dense), config.retrieve.bm25 is not None
    group = min(GROUP * 4 * DOCUMENT_BLOCK * hidden, GROUP_BYTES + 4 * DOCUMENT_BLOCK * hidden)
    tiles = threads * QUERY_BLOCK * DOCUMENT_BLOCK * (4 + 4 + 8)  # products, scaled, as keys
    searched = 0.0
    for task in tasks:
        words = task.documents * CHARACTERS * task.document_tokens / WORD
        scores = max(threads * task.documents, min(SCORES, threads * ASKED * task.documents))
        bm25 = BM25_POSTING * words + (4 + 8) * scores
        vectors = 1.25 * min(2 * group, 4 * task.documents * hidden) + tiles  # in float32 and int8
        hits = FOUND * (task.queries + task.dev) * config.retrieve.depth * (dense + lexical + 1)  # one list twice
        block = FUSED * _block_pairs([task], pairs_each(config))
        largest = max(bm25 * lexical, vectors * (dense > 0), block)  # two searches and the fusion, one after the other
        searched = max(searched, hits + BM25_WORD * words * lexical + largest)
    host = process_memory(device) + (ROW + DIGEST) * rows
    return host + (KEY * rows if dense else 0.0) + searched


def score_memory(config: Config, tasks: list[TaskTexts], hidden: int, device: Device) -> float:
    """Rows, a block of pairs, and the rows of the task at work; late interaction also a shard's token vectors."""
    largest = max(task.documents + task.queries + task.dev for task in tasks)
    host = process_memory(device) + ROW * _rows(tasks) + SIDE * largest
    host += PAIR * _block_pairs(tasks, pairs_each(config))
    if config.score.reranker == "maxsim":
        asked = max(min(PAIRS_A_SHARD * BY_DOCUMENT, t.queries + t.dev) * t.query_tokens for t in tasks)
        host += worker_count(config.threads) * asked * hidden * (2 + 4)
    return host


def mine_memory(config: Config, tasks: list[TaskTexts], device: Device) -> float:
    """Rows, one task's sketches, the words of the texts that the threads sketch, the pairs at work, the report's."""
    threads = worker_count(config.threads)
    sketched = max(
        SKETCH * task.documents
        + SPLIT_WORD * min(threads * SKETCHED, task.documents) * CHARACTERS * task.document_tokens / WORD
        for task in tasks
    )
    pairs = min(1.25 * PAIRS_AT_ONCE, max(task.queries + task.dev for task in tasks) * pairs_each(config))
    sampled = min(SAMPLE, max(task.queries + task.dev for task in tasks)) * pairs_each(config)
    return process_memory(device) + ROW * _rows(tasks) + sketched + FACT * pairs + SAMPLED * sampled
