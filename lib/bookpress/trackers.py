"""What a tracker is told of one run, told in a process of its own: see :mod:`bookpress.tracking`.

Run as a script: a report comes in as JSON on stdin, what became of it goes out as the last line of
stdout. So a tracker that hangs, dies or changes its process for good harms no run. It imports
nothing of the press.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

# MLflow takes so many numbers at a time, and texts of so many characters.
MOST_METRICS, LONGEST_TEXT = 1000, 5000
# Settings of a run of Weights & Biases that says nothing, tells of the machine no more than the
# report does, and knows in seconds that the network is away.
QUIET = {
    "username": "",
    "root_dir": ".",
    "reinit": "create_new",
    "console": "off",
    "silent": True,
    "symlink": False,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": 30.0,
    "x_graphql_retry_max": 2,
    "x_graphql_retry_wait_max_seconds": 2.0,
    "x_graphql_timeout_seconds": 15.0,
    "x_file_stream_retry_max": 2,
    "x_file_stream_retry_wait_max_seconds": 2.0,
}


def main() -> None:
    """Tell the tracker that the report on stdin names; print what became of it as JSON."""
    report = json.load(sys.stdin)
    try:
        outcome = {"wandb": to_wandb, "mlflow": to_mlflow}[report["tracker"]](report)
    except Exception as error:  # whatever a tracker raises is one line for the user
        first = next(iter(str(error).splitlines()), "")
        outcome = {"fault": f"{type(error).__name__}: {first}"}
    print("\n" + json.dumps(outcome))


def to_wandb(report: Mapping) -> dict[str, str]:
    """Make a run of Weights & Biases in the working directory, and online if so told.

    An earlier report of the same run that was cut off, or of an earlier attempt, makes way.
    """
    import wandb

    for former in Path("wandb").glob(f"*run-*-{report['id']}"):
        shutil.rmtree(former)
    # some settings are younger than the oldest version that serves
    wanted = {k: v for k, v in _settings(report).items() if k in wandb.Settings.model_fields}
    config = report["parameters"] | {"bookpress": report["facts"]}
    run = wandb.init(settings=wandb.Settings(**wanted), config=config)
    for prefix in {row["log"] for row in report["history"]}:
        run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")
    for row in report["history"]:
        name = f"{row['log']}/loss_of_trial_{row['trial']}"
        run.log({name: row["loss"], f"{row['log']}/step": row["step"]})
    run.summary.update(report["numbers"] | report["error"])
    run.finish(exit_code=int(report["state"] != "done"))
    wandb.teardown()
    for made in Path("wandb").glob(f"*run-*-{report['id']}"):
        _raise_unless_sent(made / "logs" / "debug-internal.log")
        # they name folders of this machine
        for folder in ("logs", "tmp"):
            shutil.rmtree(made / folder, ignore_errors=True)
    return {"id": report["id"], "project": report["project"], "mode": report["mode"]}


def _raise_unless_sent(log: Path) -> None:
    """Raise what wandb only logs: numbers that the server did not take."""
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        # errors that wandb overcomes have the level ERROR
        if entry["level"].startswith("ERROR+"):
            raise ConnectionError(entry["msg"])


def _settings(report: Mapping) -> dict[str, object]:
    return QUIET | {
        "mode": report["mode"],
        "entity": report["entity"],
        "project": report["project"],
        "run_id": report["id"],
        "run_name": report["facts"]["run"],
        "run_group": report["sweep"],
        "run_job_type": report["facts"]["chapter"],
        "run_notes": report["error"].get("error", ""),
        "host": report["facts"]["host"],
    }


def to_mlflow(report: Mapping) -> dict[str, str]:
    """Make a run of MLflow in the store that the report names.

    An earlier report of the same run that was cut off, or of an earlier attempt, makes way.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(tracking_uri=report["store"])
    found = client.get_experiment_by_name(report["project"])
    experiment = found.experiment_id if found else client.create_experiment(report["project"])
    for former in client.search_runs([experiment], f"tags.`bookpress.id` = '{report['id']}'"):
        client.delete_run(former.info.run_id)
    began = int(_seconds(report) * 1000)
    name, tags = report["facts"]["run"], _tags(report)
    run = client.create_run(experiment, start_time=began, tags=tags, run_name=name).info.run_id
    given = [Param(key, str(value)[:LONGEST_TEXT]) for key, value in report["parameters"].items()]
    client.log_batch(run, params=given)
    metrics = list(_metrics(report, began))
    for first in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run, metrics=metrics[first : first + MOST_METRICS])
    ended = began + int(report["numbers"].get("duration_s", 0) * 1000)
    client.set_terminated(run, "FINISHED" if report["state"] == "done" else "FAILED", ended)
    return {"id": run, "project": report["project"], "mode": report["mode"]}


def _metrics(report: Mapping, began: int) -> Iterator[object]:
    from mlflow.entities import Metric

    for name, value in report["numbers"].items():
        yield Metric(name, float(value), began, 0)
    for row in report["history"]:
        name = f"{row['log']}/loss_of_trial_{row['trial']}"
        yield Metric(name, float(row["loss"]), began, row["step"])


def _tags(report: Mapping) -> dict[str, str]:
    facts = report["facts"] | {"id": report["id"], "sweep": report["sweep"]} | report["error"]
    plain = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    return {f"bookpress.{key}": value[:LONGEST_TEXT] for key, value in plain.items()}


def _seconds(report: Mapping) -> float:
    """When the run began, in seconds since 1970."""
    return datetime.fromisoformat(report["facts"]["started"]).timestamp()


if __name__ == "__main__":
    main()
