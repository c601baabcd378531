"""A person's last word on a version that passed every check: in the Prefect UI, or by `evermodel promote`."""

import contextlib
import datetime
import logging
import threading
from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout, ObjectNotFound
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL
from prefect.states import Running
from pydantic import Field

from flows.runners.inline import interrupt
from flows.runners.watch import watched
from schemas.stages import RegisterResult
from tasks import decisions
from tasks.decisions import EVERMODEL, Decision
from tasks.registry import Registry, Version
from tasks.tags import CHAMPION, COMPARED_WITH

log = logging.getLogger("evermodel.flow")

_KEY = "promotion"
_MOST = 100
_POLL_S = 3


class Approval(RunInput):
    """The form in the Prefect UI behind Resume."""

    decision: Literal["approve", "decline"] = Field(
        description="approve: the version becomes champion. decline: the champion stays."
    )
    who: str = Field(min_length=1, description="Your name; it is recorded with the version.")
    why: str = Field(min_length=1, description="The reason; it is recorded with the version.")


def settled(
    result: RegisterResult, registry: Registry, *, timeout_hours: float, shown: str
) -> tuple[RegisterResult, bool]:
    """Return what became of a version, and whether that was decided now: one that waits is asked about, for so long.

    What stood there already tells what was decided when it was made; the last word may be another one since.
    `shown` is Markdown beside the form. A run of a deployment is suspended, and goes on in a new process when it is
    resumed; another run on a server waits. Without a server nobody could answer: the version goes on waiting.
    """
    version = registry.find(result.name, result.version)
    if waited := decisions.waits(version):
        _ask(version, registry, timeout_hours=timeout_hours, shown=shown)
        version = registry.find(result.name, result.version)
    last = decisions.of(version)[-1]
    if last.sentence == result.reason:
        return result, False
    waits, promoted = last.what == "waits", CHAMPION in version.aliases
    now = result.model_copy(update={"promoted": promoted, "waits": waits, "reason": last.sentence})
    return now, waited and not waits


def given() -> dict[str, Approval]:
    """Return what was answered when this flow run was resumed, by the version that it had asked about; else nothing."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return {}
    prefix, suffix = f"suspended-{_KEY}-", "-response"
    with get_client(sync_client=True) as client:
        said = client.filter_flow_run_input(context.flow_run.id, key_prefix=prefix, limit=_MOST, exclude_keys=set())
    return {
        each.key.removeprefix(prefix).removesuffix(suffix): Approval.model_validate(each.decoded_value)
        for each in said
        if each.key.endswith(suffix)
    }


def take(answers: Mapping[str, Approval], name: str, registry: Registry) -> bool:
    """Let answers decide about the versions that this run asked about and that still wait; say whether one did.

    Data may have changed while the run was suspended: what it makes when it goes on is another version.
    """
    waiting = [
        version
        for version in (registry.versions(name) if answers else ())
        if version.version in answers and (last := decisions.of(version)[-1]).what == "waits" and last.asks == _run_id()
    ]
    for version in waiting:
        _record(answers[version.version], version, registry)
    return bool(waiting)


def _ask(version: Version, registry: Registry, *, timeout_hours: float, shown: str) -> None:
    by_hand = f"evermodel promote {version.name} {version.version} --reason …"
    if not PREFECT_API_URL.value():
        log.warning("register: %s version %s waits for approval: %s", version.name, version.version, by_hand)
        return
    asks = decisions.of(version)[-1].asks
    if asks is not None and asks != _run_id() and _is_suspended(asks):
        log.info("register: %s version %s waits for approval; run %s asks for it", version.name, version.version, asks)
        return
    until = _deadline(version, registry, timeout_hours)
    left_s = int((until - decisions.now()).total_seconds())
    said = f"waits until {until.isoformat()} for approval: Resume in the Prefect UI, or {by_hand}"
    log.warning("register: %s version %s %s", version.name, version.version, said)
    answer = _answer(version.version, left_s, shown) if left_s > 0 else None
    version = registry.find(version.name, version.version)
    if decisions.of(version)[-1].what == "waits":  # nobody was faster
        _record(answer, version, registry)


def _run_id() -> str | None:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None


def _is_suspended(run: str) -> bool:
    """Say whether a run is suspended: an answer reaches it though no process waits, as that of a paused one must."""
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
        return client.read_flow_run(UUID(run)).state_name == "Suspended"
    return False


def _deadline(version: Version, registry: Registry, timeout_hours: float) -> datetime.datetime:
    """Return when the wait ends; it and who asks are noted, such that they are known though no process waits."""
    last = decisions.of(version)[-1]
    if last.until is None:
        until = (decisions.now() + datetime.timedelta(hours=timeout_hours)).isoformat()
        last = last.model_copy(update={"until": until, "why": f"{last.why} (until {until})"})
    decisions.record(registry, version, last.model_copy(update={"asks": _run_id()}))
    return datetime.datetime.fromisoformat(str(last.until))


def _answer(version: str, seconds: int, shown: str) -> Approval | None:
    """Return what a person says; None when the time is over. A run that is suspended ends here until it is resumed."""
    context = FlowRunContext.get()
    form, key = Approval.with_initial_data(description=shown), f"{_KEY}-{version}"
    if context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None:
        return suspend_flow_run(wait_for_input=form, timeout=seconds, key=key)
    thread = threading.get_ident()
    try:
        with watched("register", timeout_s=None, stop=lambda: interrupt(thread)):
            return pause_flow_run(wait_for_input=form, timeout=seconds, poll_interval=_POLL_S, key=key)
    except FlowPauseTimeout:
        if context is not None and context.flow_run is not None:
            with get_client(sync_client=True) as client:  # or the server ends the run as failed, which it has not
                client.set_flow_run_state(context.flow_run.id, Running(), force=True)
        return None


def _record(answer: Approval | None, version: Version, registry: Registry) -> None:
    when = decisions.now().isoformat()
    if answer is None:
        why = f"not promoted: nobody approved it until {when}"
        decisions.record(registry, version, Decision(what="expired", who=EVERMODEL, when=when, why=why))
    elif answer.decision == "decline":
        declined = Decision(what="declined", who=answer.who, when=when, why=answer.why)
        decisions.record(registry, version, declined)
    else:
        compared = version.tags.get(COMPARED_WITH) or None
        try:
            decisions.replace(registry, version, champion=compared, what="approved", why=answer.why, who=answer.who)
        except decisions.MovedError as error:
            why = f"not promoted, though {answer.who} approved: {error}"
            decisions.record(registry, version, Decision(what="refused", who=EVERMODEL, when=when, why=why))
