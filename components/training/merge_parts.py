"""The adapters that `train.merge` makes one of, written beside the checkpoints as training comes to them.

A killed run finds the parts that its newest checkpoint has left behind, and writes the later ones again.
"""

import logging
from pathlib import Path

from components.config import TrainParams
from components.training.merge import merge_adapters
from components.training.weights import Weights, copy_to_host, load_weights, put_weights, save_weights

log = logging.getLogger(__name__)
_MUCH = 0.1  # of the update's norm cut


class MergeParts:
    """The adapters that are merged at the end of a run: none without `train.merge`."""

    def __init__(self, folder: Path, params: TrainParams, named: Weights) -> None:
        self.folder, self.params, self.merge, self.named = folder, params, params.merge, named
        self.starts = [steps.start for steps in params.bags]
        from_start = self.merge is not None and self.merge.of != "checkpoints"
        self._start = copy_to_host(named) if from_start else {}  # each bag begins here; or train.init_adapter

    @property
    def one_run(self) -> bool:
        """Whether the weights of the best dev check are what is kept (and merged with the initial adapter's)."""
        return self.merge is None or self.merge.of == "init_adapter"

    def begin(self, step: int) -> bool:
        """Put the initial weights back where a step is the first of a bag after the first one; whether it is."""
        if step == 0 or step not in self.starts:
            return False
        put_weights(self._start, self.named)
        return True

    def keep(self, done: int, end: bool) -> None:
        """Write the weights after `done` steps where they are a part. Of checkpoints the last ones stay."""
        if self.merge is None or self.one_run:
            return
        bags = self.merge.of == "bags"
        if end or (done in self.starts if bags else done % self.params.checkpoint_every == 0):
            save_weights(self.folder / f"part-{done:08d}.safetensors", self.named)
            for file in [] if bags else self._files()[: -(self.merge.number or 1)]:
                file.unlink()

    def put_merged(self) -> dict[str, float]:
        """Put the merged weights into the model; returns the metrics, none without `train.merge`."""
        if self.merge is None:
            return {}
        if self.one_run:
            parts, share = [self._start, copy_to_host(self.named)], self.merge.weight or 0.0
            shares = [1 - share, share]
        else:
            parts = [load_weights(file) for file in self._files()]
            shares = [1 / len(parts)] * len(parts)
        merged = merge_adapters(parts, shares, self.merge.method)
        put_weights(merged.weights, self.named)
        said = log.warning if merged.error > _MUCH else log.info
        said(
            "train: merged %s adapters (%s, %s): %.1f %% of the update did not fit in train.lora.rank: %s%s",
            len(parts),
            self.merge.of,
            self.merge.method,
            100 * merged.error,
            self.params.lora.rank,
            "; raise it, or merge adapters that differ less" if merged.error > _MUCH else "",
        )
        return {"train.merge_error": merged.error, "train.merged_adapters": float(len(parts))}

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.safetensors"))
