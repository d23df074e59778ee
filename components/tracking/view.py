"""The experiment's saved view: pipelines only, the columns that matter, and charts that compare pipelines.

MLflow keeps a shared view as a tag of the experiment, which its Share button writes and a link opens by its key.
"""

import json
from typing import Any

from components.tracking.headlines import HEADLINES, NAMES
from components.tracking.store import view_link

VIEW = "pipelines"
ONLY_PIPELINES = "tags.`foundry.kind` = 'pipeline'"
COLUMNS = (
    *(f"metrics.`evaluate/{name}`" for name in HEADLINES["evaluate"]),
    "metrics.`train/train.dev_ndcg_at_10`",
    "attributes.`User`",
    "attributes.`Version`",
)


def save_view(client: Any, experiment: str) -> None:
    """Write the view and the description of the experiment, where they differ from today's."""
    tags = client.get_experiment(experiment).tags
    wanted = {
        f"mlflow.sharedViewState.{VIEW}": json.dumps(_view_state(), separators=(",", ":")),
        "mlflow.note.content": (
            f"A row a pipeline, its stages below it. [Pipelines beside each other]({view_link(experiment)}); in "
            "the terminal: `foundry runs`. A stage that was reused is linked on the page of the run."
        ),
    }
    for name, text in wanted.items():
        if tags.get(name) != text:
            client.set_experiment_tag(experiment, name, text)


def _view_state() -> dict[str, Any]:
    charts = [
        {
            "type": "BAR",
            "uuid": f"{VIEW}-{number}",
            "metricSectionId": f"{VIEW}-headlines",
            "metricKey": name,
            "runsCountToCompare": 20,
            "deleted": False,
            "isGenerated": False,
        }
        for number, name in enumerate(NAMES[:8])
    ]
    section = {"uuid": f"{VIEW}-headlines", "name": "Pipelines", "display": True, "isReordered": True, "columns": 2}
    return {
        "searchFilter": ONLY_PIPELINES,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }
