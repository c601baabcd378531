"""Monitoring: new rows beside what the champion was made from, and an event when they are no longer alike."""

import json
import logging

from prefect import flow

from flows import artifacts, events
from schemas.data import Source
from schemas.drift import Drift
from schemas.monitoring import MonitorRequest, MonitorResult
from schemas.named import Metric
from tasks import marks, observations, plugins, secret_files
from tasks import monitor as stage
from tasks.registry import Registry
from tasks.stage import published
from tasks.tags import CHAMPION
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")


@flow(name="monitor", flow_run_name="{name}")
def monitor(
    name: str,
    source: Source,
    workspace: str = ".evermodel",
    drift: Drift = Drift(),  # noqa: B008 - frozen
    metrics: tuple[Metric, ...] = (),
) -> MonitorResult:
    """Compare new rows with what the champion was made from; with labels, measure the champion's quality, too.

    Rows that were judged already for the same champion are not judged again, nor recorded and told of twice. Where the
    registry or the Prefect server was away, the next run for the same rows makes up for it.
    """
    secret_files.load()
    plugins.source_digests(metric.name for metric in metrics if ":" in metric.name)
    registry = Registry(workspace=workspace)
    version = registry.find(name, CHAMPION)
    request = MonitorRequest(
        workspace=workspace,
        name=name,
        version=version.version,
        bundle=registry.bundle(version),
        source=source,
        drift=drift,
        metrics=metrics,
    )
    home, key = place(workspace), stage.run_key(request)
    told = f"told/{key}.json"
    known = published(MonitorResult, home / "monitor" / key)
    if known is not None and marks.read(home, told) is not None:
        log.info("monitor: %s rows were judged before, and have not changed", f"{known.rows.read:,}")
        return known
    result = stage.run(request)
    observations.record(registry, version, result)
    artifacts.monitored(result)
    if _told(result):
        marks.write(home, told, json.dumps({"model": name, "version": version.version}))
    return result


def _told(result: MonitorResult) -> bool:
    """Send an event if the rows drifted, and say whether there is nothing left to send."""
    if result.drift is None or not result.drift.drifted:
        return True
    told = {"version": result.version, "rows": result.rows.accepted, **result.drift.model_dump(mode="json")}
    return events.emit(events.DRIFTED, events.model(result.name), told)
