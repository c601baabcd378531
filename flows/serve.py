"""Serving: one process, and no worker, that starts the runs of deployed models as they become due."""

import asyncio
import signal
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner

_SECONDS_TO_END = 5.0


class _Standing(RunnerDeployment):
    """A deployment that stands on the server already."""

    deployment_id: UUID

    async def aapply(self, *_arguments: Any, **_options: Any) -> UUID:
        """Return the deployment's id."""
        return self.deployment_id


def serve(deployments: Mapping[str, UUID]) -> None:
    """Start the runs of these deployments, by flow and name, each in a process of its own, until SIGTERM or SIGINT.

    In the end their schedules are paused, and runs that are going on are cancelled.
    """
    asyncio.run(_serve(deployments))


async def _serve(deployments: Mapping[str, UUID]) -> None:
    runner = Runner(name="evermodel")
    for full_name, deployment_id in deployments.items():
        flow, _, name = full_name.partition("/")
        await runner.aadd_deployment(_Standing(name=name, flow_name=flow, deployment_id=deployment_id))
    running = asyncio.ensure_future(runner.start())
    await asyncio.sleep(0)  # the runner sets its own handler at its start; it stops from within a signal
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set():
        await runner.astop()
        while not (await asyncio.wait({running}, timeout=_SECONDS_TO_END))[0]:
            await runner.cancel_all()  # a run that was just being started when the others were cancelled
    stop.cancel()
    await running
