"""The uploader's last step on a pipeline's run: links to the runs it reused, and the description of its page."""

from collections.abc import Mapping
from typing import Any

from components.tracking.headlines import headline_metrics


def describe_run(client: Any, run_id: str, event: Mapping[str, Any]) -> None:
    """Set the tags `reused.STAGE` and the description from the run's `summary` event; idempotent."""
    run, made_by = client.get_run(run_id), {}
    for stage, md5 in event["reused"].items():
        found = client.search_runs(
            [run.info.experiment_id],
            f"tags.`dvc.out.md5` = '{md5}' and tags.`dvc.stage` = '{stage}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        if found:
            made_by[stage] = str(found[0].info.run_id)
            client.set_tag(run_id, f"reused.{stage}", made_by[stage])
    client.set_tag(run_id, "mlflow.note.content", describe_pipeline(run, event, made_by))


def describe_pipeline(run: Any, event: Mapping[str, Any], made_by: Mapping[str, str]) -> str:
    """Markdown for the run's page: recipe, data, headline metrics, and each stage with its time or the run it is from.

    made_by: stage -> the run that made its output.
    """
    tags, experiment = run.data.tags, run.info.experiment_id
    lines = [f"**{tags.get('recipe', '')}** on {tags.get('data', '')}", "", "| metric | value |", "|---|---|"]
    lines += [f"| {name} | {value:.6g} |" for name, value in headline_metrics(run.data.metrics).items()]
    lines += ["", "| stage | what happened |", "|---|---|"]
    lines += [f"| {name} | {status.lower()}, {ms / 1000:.0f} s |" for name, (status, ms) in event["ran"].items()]
    for stage in event["reused"]:
        link = f"[the run that made it](#/experiments/{experiment}/runs/{made_by[stage]})" if stage in made_by else ""
        lines.append(f"| {stage} | reused {link} |")
    if "git.run" in tags:
        lines += ["", f"Again, byte for byte: `make reproduce RUN={tags['git.run']}`"]
    return "\n".join(lines) + "\n"
