"""The training loop: batches -> step -> optimizer, with checkpoints, dev checks, a curve and early stopping.

Equal data, parameters and seed give the same adapter bit for bit on CPU, also for a run that was killed and resumed
from its last checkpoint.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from components.base import watchdog
from components.base.errors import UserError
from components.base.machine import free_memory
from components.base.progress import bar
from components.config import Config
from components.model.encoder import Encoder
from components.model.prompt import Prompt
from components.training.ahead import Ahead
from components.training.batches import Batch, Batches
from components.training.best import best_step, drop_best, load_best, save_best
from components.training.checkpoint import checkpoint_step, list_checkpoints, load_checkpoint, save_checkpoint
from components.training.dev import DevCheck
from components.training.examples import TrainingData
from components.training.merge_parts import MergeParts
from components.training.meter import Meter, matmul_rate, measure_contrast
from components.training.objectives import objective_at_widths
from components.training.reading import Reading, Unread
from components.training.row_budget import RowBudget
from components.training.rows import PlacedRow, Tokens, pack_rows
from components.training.soft_labels import DenseTeachers, DenseVectors
from components.training.step import Step
from components.training.token_ids import TrainingTokens
from components.training.watch import FirstSteps
from components.training.world import World

log = logging.getLogger(__name__)
NO_VECTORS = DenseVectors()
Log = Callable[[dict[str, float], int | None], None]


class Prepared(NamedTuple):
    """Host data of a step: its batch, token ids, the rows packed to `row_tokens`, and dense vectors."""

    batch: Batch
    tokens: Tokens
    row_tokens: int
    rows: list[PlacedRow]
    dense: DenseVectors


class Trainer:
    """Trains the adapter of `model` (a peft model whose base is frozen)."""

    def __init__(
        self,
        model: Any,
        prompt: Prompt,
        data: TrainingData,
        config: Config,
        work: Path,
        log: Log,
        world: World,
        teachers: DenseTeachers | None = None,
        cache: Path | None = None,
    ) -> None:
        """`cache`: where token ids are kept for other runs; below `work` when empty."""
        self.model, self.prompt, self.config, self.params = model, prompt, config, config.train
        self.work, self.log, self.world = work / "checkpoints", log, world
        self.teachers = teachers or DenseTeachers()
        training_prompt = Prompt(prompt.tokenizer, config.training_prompt)
        self.tokens = TrainingTokens(data, training_prompt, cache or work / "cache", world)
        self.batches = Batches(data, config.train, config.seed)
        self.step = Step(model, config.encoder.pooling, config.seed, config.train.gradcache, world)
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.named.values(), lr=config.train.learning_rate, weight_decay=config.train.weight_decay, foreach=False
        )
        self.dev = DevCheck(data, config.train.dev, config.seed) if config.train.dev.every else None
        parameters = sum(p.numel() for n, p in model.named_parameters() if "embed_tokens" not in n)
        device = self.step.device
        self.meter = Meter(parameters, matmul_rate(device, next(model.parameters()).dtype), device)
        self.curve: list[dict[str, Any]] = []
        self.speeds: dict[str, float] = {}
        self.lags = device.type == "cuda"  # a step's numbers are read when the next one's loss is known
        self._unread: Unread | None = None
        self.watch = FirstSteps()
        self.budget = RowBudget(config.train.row_tokens, self.work)
        self.parts = MergeParts(self.work, config.train, self.named)
        self.merged: dict[str, float] = {}  # metrics of the merged adapter
        self.cut = self.shots = self.shots_left_out = 0  # so far: texts cut to their length, shots drawn, not shown

    def fit(self) -> list[dict[str, Any]]:
        """Train to the last step or an early stop; returns the curve: one row per step, without times.

        Raises:
            UserError: the loss is NaN or inf (names the batch; the last good checkpoint stays), or the newest
                checkpoint is damaged.
        """
        start = self._resume()
        steps = range(start, self.params.steps)
        with bar("train", self.params.steps, "step") as shown, Ahead(self._prepare, steps) as ahead:
            shown.update(start)
            for step in steps:
                watchdog.beat()
                if self.parts.begin(step):
                    self.optimizer.state.clear()
                self._run_step(step, ahead.take)
                last = step + 1 == self.params.steps
                checked = self.dev is not None and ((step + 1) % self.params.dev.every == 0 or last)
                saved = (step + 1) % self.params.checkpoint_every == 0
                if last or checked or saved or not self.lags:
                    self._finish_step()
                if self.curve:
                    shown.set_postfix(self._postfix(self.curve[-1]), refresh=False)
                shown.update(1)
                if checked:
                    watchdog.beat()
                    ahead.settle()
                    self.curve[-1]["dev_ndcg_at_10"] = self.world.of_first(self._check_dev(step))
                    if self.world.first and self.parts.one_run and best_step(self.curve) == step:
                        save_best(self.work, step, self.named)
                stop = last or self._out_of_patience()
                if self.world.first:
                    self.parts.keep(step + 1, stop)
                if saved and not stop:
                    self._save(step + 1)
                if stop:
                    break
        watchdog.beat()
        if self.shots_left_out and self.world.first:
            log.warning(
                "train: %s of %s shots were left out: the prefix would be over prompt.prefix_tokens: %s; raise it, or "
                "lower prompt.example_tokens or train.shots.max",
                f"{self.shots_left_out:,}",
                f"{self.shots:,}",
                self.config.prompt.prefix_tokens,
            )
        self._keep_best()
        self._merge()
        return self.curve

    def _prepare(self, step: int) -> Prepared:
        """The batch and its rows: all that a step needs from the host, pinned for a card."""
        batch = self.batches[step]
        tokens, dense = self.tokens.of(batch), self.teachers.of(batch)
        if self.step.device.type == "cuda":
            batch, dense = batch.mapped(torch.Tensor.pin_memory), dense.mapped(torch.Tensor.pin_memory)
        return self._packed(Prepared(batch, tokens, 0, [], dense))

    def _packed(self, prepared: Prepared) -> Prepared:
        """With its rows packed to the number of tokens in force."""
        size = self.budget.tokens
        if prepared.row_tokens == size:
            return prepared
        on_card = self.step.device.type == "cuda"
        rows = pack_rows(prepared.tokens, size, self.config.encoder, self.world, join=on_card)
        if on_card:
            rows = [placed.pin() for placed in rows]
        return prepared._replace(row_tokens=size, rows=rows)

    def _run_step(self, step: int, take: Callable[[], Prepared]) -> None:
        """One update. `_finish_step` reads its numbers later: to read them now would wait for the device."""
        begin = time.perf_counter()
        prepared = take()
        waited = time.perf_counter() - begin
        batch = prepared.batch
        self.cut += prepared.tokens.cut
        self.shots += sum(map(len, batch.shots))
        self.shots_left_out += prepared.tokens.shots_left_out
        self.model.train()
        seen: dict[str, torch.Tensor] = {}
        there, dense = batch.mapped(self._put), prepared.dense.mapped(self._put)
        loss, rows = self._run_rows(step, prepared, self._loss(there, seen, dense))
        self._finish_step()  # the step before: this step's loss is known, so the device has done it
        if not math.isfinite(loss):
            queries = ", ".join(map(str, batch.queries[:3]))
            raise UserError(
                f"train: step {step}: the loss is {loss} on a batch of task {batch.task.name} "
                f"(rows {queries}, ... of queries.parquet); "
                "lower train.learning_rate or raise train.temperature; the last good checkpoint is kept"
            )
        norm = self._update(step)
        vectors = seen["queries"]
        numbers = measure_contrast(vectors @ seen["documents"].T, there.targets, self.params.temperature)
        reading = Reading(gram=vectors @ vectors.T, gradient_norm=norm, **numbers)
        known = {
            "train/loss": loss,
            "train/learning_rate": self._rate(step),
            "data/texts_cut": float(self.cut),
            "data/shots_left_out": float(self.shots_left_out),
            "data/rows_over_budget": float(sum(placed.tokens > self.budget.tokens for placed in rows)),
            "speed/wait_seconds": waited,
        }
        self._unread = Unread(step, batch, rows, time.perf_counter() - begin, known, reading)

    def _finish_step(self) -> None:
        """Read the numbers of the last step, and write them down: a row of the curve, and metrics."""
        done, self._unread = self._unread, None
        if done is None:
            return
        numbers, name = done.numbers(), done.batch.task.name
        if self.world.first:
            self.watch.see(name, numbers["train/loss"], numbers["train/mean_cosine"])
            self.speeds = self.meter.measure(done.seconds, *done.tokens(), self.params.steps - done.step - 1)
            self.log({**numbers, **self.speeds}, done.step)
        row = {
            "step": done.step,
            "task": name,
            "loss": numbers["train/loss"],
            "accuracy": numbers["train/accuracy"],
            "margin": numbers["train/margin"],
            "dev_ndcg_at_10": None,
        }
        self.curve.append(row)

    def _put(self, tensor: torch.Tensor) -> torch.Tensor:
        """On the device; from pinned memory without waiting for it."""
        return tensor.to(self.step.device, non_blocking=True)

    def _run_rows(
        self, step: int, prepared: Prepared, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> tuple[float, list[PlacedRow]]:
        """(the step's loss, the rows it ran): rows are packed smaller until they fit the card."""
        while True:
            prepared = self._packed(prepared)
            try:
                return self.step.run(step, prepared.rows, len(prepared.batch.query_texts), loss), prepared.rows
            except torch.OutOfMemoryError:
                if not self.params.gradcache:
                    raise UserError(
                        f"train: step {step}: out of the card's memory; the graphs of all rows of a batch are alive at "
                        "once: set train.gradcache: true; the last checkpoint is kept"
                    ) from None
                self.budget.halve(step, prepared.rows)
                if self.world.sharded:
                    raise  # the other processes wait in the middle of a row
            self.optimizer.zero_grad()
            free_memory()

    def _postfix(self, row: dict[str, Any]) -> dict[str, str]:
        """Values for the progress bar, most important first: narrow terminals truncate the end."""
        shown = {"loss": f"{row['loss']:.3f}"}
        if self.speeds:
            shown["useful tok/s"] = f"{self.speeds['speed/useful_tokens_per_second']:.0f}"
            shown["mfu"] = f"{self.speeds['speed/mfu']:.2f}"
            shown["GiB"] = f"{self.speeds['memory/peak_gib']:.1f}"
        return shown | {"acc": f"{row['accuracy']:.2f}", "task": row["task"]}

    def _loss(
        self, batch: Batch, seen: dict[str, torch.Tensor], vectors: DenseVectors = NO_VECTORS
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The batch's loss as a function of query and document vectors, which it keeps in `seen`; on one device."""

        def loss(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
            seen.update(queries=queries.detach(), documents=documents.detach())
            return objective_at_widths(queries, documents, batch, self.params, vectors.scores())

        return loss

    def _update(self, step: int) -> torch.Tensor:
        """One step of the optimizer; returns the norm of the gradients."""
        norm = torch.nn.utils.clip_grad_norm_(list(self.named.values()), self.params.clip_norm, foreach=False)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _rate(self, step: int) -> float:
        params = self.params
        steps = next(steps for steps in params.bags if step in steps)
        step -= steps.start
        if step < params.warmup_steps:
            return params.learning_rate * (step + 1) / params.warmup_steps
        done = (step - params.warmup_steps) / max(1, len(steps) - params.warmup_steps)
        shapes = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        return params.learning_rate * shapes[params.schedule]

    def _check_dev(self, step: int) -> float:
        self.model.eval()
        assert self.dev is not None
        with self.step.autocast():
            encoder = Encoder(self.model, self.prompt, self.config.encoder, identity="")
            score = self.dev.score(encoder, self.step.device)
        if self.world.first:
            self.log({"dev/ndcg_at_10": score}, step)
        return score

    def _out_of_patience(self) -> bool:
        best, patience = best_step(self.curve), self.params.dev.patience
        if best is None or not patience:
            return False
        return sum(row["dev_ndcg_at_10"] is not None for row in self.curve[best + 1 :]) >= patience

    def _keep_best(self) -> None:
        """Put the weights of the best dev check into the model: they become the adapter."""
        best = best_step(self.curve)
        if best is None or best + 1 == len(self.curve) or not self.world.first or not self.parts.one_run:
            return
        load_best(self.work, best, self.named)
        scores = [self.curve[step]["dev_ndcg_at_10"] for step in (best, -1)]
        log.info("the adapter is that after step %s, dev nDCG@10 %.4f (last step: %.4f)", best + 1, *scores)

    def _merge(self) -> None:
        """Put the merged adapter into the model, and tell what dev says of it."""
        if self.params.merge is None:
            return
        if self.world.first:
            self.merged = self.parts.put_merged()
        if self.dev:
            score, best = self.world.of_first(self._check_dev(len(self.curve))), best_step(self.curve)
            self.merged["train.dev_ndcg_at_10"] = score
            single = 0.0 if best is None else self.curve[best]["dev_ndcg_at_10"]
            log.info("train: dev nDCG@10 %.4f of the merged adapter, %.4f of the best single one", score, single)

    def _save(self, step: int) -> None:
        if self.world.first:
            save_checkpoint(self.work, step, self.named, self.optimizer, {"curve": self.curve, "config": self._mark()})
            needed = [best_step(self.curve[: checkpoint_step(path)]) for path in list_checkpoints(self.work)]
            drop_best(self.work, needed)

    def _resume(self) -> int:
        """Load the newest checkpoint; returns the next step."""
        saved = list_checkpoints(self.work)
        if not saved:
            return 0
        state = load_checkpoint(saved[-1], self.named, self.optimizer)
        if state["config"] != self._mark():
            raise UserError(f"{saved[-1]}: checkpoint has other parameters; delete the folder or restore params.yaml")
        self.curve = state["curve"]
        if self.world.first:
            log.info("resuming after step %s of %s from checkpoint %s", state["step"], self.params.steps, saved[-1])
        return int(state["step"])

    def _mark(self) -> str:
        """Parameters that a checkpoint must match, as JSON."""
        sections = self.config.model_dump(mode="json", include={"seed", "prompt", "encoder", "train"})
        return json.dumps(sections, sort_keys=True)
