"""Automations of Prefect that belong to a model's deployment: events that start a run, and notifications."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events import DeploymentEventTrigger, EventTrigger, Posture
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from flows import events
from schemas.errors import ResourceError, SpecError
from schemas.spec import Spec

_FAILED = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"}
_FRESH = {"prefect.flow-run.Completed", "prefect.flow-run.NothingNew"}


@dataclass(frozen=True)
class Wanted:
    """What a deployment reacts to, and whom it tells."""

    on_events: Sequence[str] = ()
    """Events that start a run, each `EVENT` about this model or its data, or `EVENT=RESOURCE`; * ends a beginning."""
    notify: str | None = None
    """A block that notifies, as type/name; or one of the type webhook, which gets the same text."""
    stale_after: timedelta = timedelta(days=7)
    """A notification is sent when no run has ended well for so long."""

    def with_event(self, event: str) -> "Wanted":
        """Return the same, with runs on this event."""
        return replace(self, on_events=tuple(dict.fromkeys((*self.on_events, event))))


def renew(client: SyncPrefectClient, spec: Spec, deployment_id: UUID, wanted: Wanted) -> None:
    """Replace the automations of a deployment by those that are wanted.

    Raises ResourceError when the block to notify by is not there, before any of them is replaced.
    """
    owner = f"prefect.deployment.{deployment_id}"
    made = [_start(spec, deployment_id, each) for each in wanted.on_events]
    if wanted.notify:
        block = _block(client, wanted.notify)
        made += [
            AutomationCore(
                name=f"{spec.name}: {what}",
                trigger=trigger,
                actions=[_message(spec, block, text)],
                owner_resource=owner,
            )
            for what, trigger, text in _notices(spec, owner, wanted.stale_after)
        ]
    client.delete_resource_owned_automations(owner)
    for automation in made:
        client.create_automation(automation)


def _start(spec: Spec, deployment_id: UUID, wanted: str) -> AutomationCore:
    event, given, resource = wanted.partition("=")
    if not event or (given and not resource):
        raise SpecError(f"--on-event wants EVENT or EVENT=RESOURCE such as {events.UPDATED}, got {wanted!r}")
    trigger = DeploymentEventTrigger(
        name=f"{spec.name}: run on {event}",
        expect={event},
        match={"prefect.resource.id": [resource] if given else [events.model(spec.name), events.dataset(spec)]},
    )
    trigger.set_deployment_id(deployment_id)
    return trigger.as_automation()


def _notices(spec: Spec, deployment: str, stale_after: timedelta) -> Iterator[tuple[str, EventTrigger, str]]:
    """Yield each notification's name, what it is about, and its text."""
    of_runs = {"prefect.resource.id": deployment, "prefect.resource.role": "deployment"}
    of_model = {"prefect.resource.id": events.model(spec.name)}
    failed = EventTrigger(expect=_FAILED, match_related=of_runs)
    yield "failed", failed, "The run {{ flow_run.name }} failed: {{ flow_run.state.message }} {{ flow_run|ui_url }}"
    refused = EventTrigger(expect={events.REFUSED}, match=of_model)
    yield "not promoted", refused, "Version {{ event.payload.version }} {{ event.payload.reason }}"
    drifted = EventTrigger(expect={events.DRIFTED}, match=of_model)
    yield "drifted", drifted, "Rows are no longer like those of training: {{ event.payload }}"
    stale = EventTrigger(
        posture=Posture.Proactive, expect=_FRESH, match_related=of_runs, threshold=1, within=stale_after
    )
    yield "stale", stale, f"No run has ended well for {stale_after}."


def _block(client: SyncPrefectClient, name: str) -> BlockDocument:
    kind, _, own = name.partition("/")
    try:
        return client.read_block_document_by_name(own, kind)
    except ObjectNotFound as error:
        raise ResourceError(
            f"there is no block {name!r} to notify by; make one in the Prefect UI, and name it as in slack-webhook/NAME"
        ) from error


def _message(spec: Spec, block: BlockDocument, text: str) -> SendNotification | CallWebhook:
    kind = block.block_type
    if kind is not None and kind.slug == "webhook":
        return CallWebhook(block_document_id=block.id, payload=f"{spec.name}: {text}")
    return SendNotification(block_document_id=block.id, subject=f"Evermodel: {spec.name}", body=text)
