"""Why a version that proved itself does not become champion all the same: what happened before, or meanwhile."""

import datetime

from schemas.stages import RegisterRequest
from tasks import decisions, freshness
from tasks.registry import Registry, Version

_UNWANTED = ("rolled back", "declined", "expired")


def found(request: RegisterRequest, store: Registry, version: Version) -> str:
    """Return why a version may not become champion: nothing if it may."""
    champion = store.champion(request.name)
    if champion is not None and champion.version != request.champion_version:
        return f"not promoted: version {champion.version} became champion meanwhile; run again to compare with it"
    if champion is not None and (older := _older(request, store, champion)):
        return older
    if settled := _settled(version) or _unwanted(version, store):
        return f"not promoted: {settled}; evermodel promote {version.name} {version.version} overrules"
    return ""


def _older(request: RegisterRequest, store: Registry, champion: Version) -> str:
    """Return why a backfill does not replace a champion that knows of later days: nothing if it is none."""
    if not (until := request.parameters.get("data.until")):
        return ""
    ours, theirs = datetime.datetime.fromisoformat(str(until)), freshness.as_of(champion, store.parameters(champion))
    if ours >= theirs:
        return ""
    later = f"version {champion.version}, which is as of {theirs:%Y-%m-%d %H:%M}"
    return f"not promoted: a version as of {ours:%Y-%m-%d %H:%M} does not replace {later}; evermodel promote overrules"


def _settled(version: Version) -> str:
    """Return what became of a version that was champion or that a person did not want: nothing if neither is so."""
    last = _last_word(version)
    if last is None:
        return ""
    if last.what in _UNWANTED:
        return last.sentence.removeprefix("not promoted: ")
    return f"it was champion before ({last.what} at {last.when})"


def _unwanted(version: Version, store: Registry) -> str:
    """Return why nobody wanted the same bundle, registered when something else was asked of it: nothing if they did."""
    for twin in store.versions(version.name):
        if twin.bundle_digest == version.bundle_digest:
            last = _last_word(twin)
            if last is not None and last.what in _UNWANTED:
                return f"version {twin.version} is the same bundle: {last.sentence.removeprefix('not promoted: ')}"
    return ""


def _last_word(version: Version) -> decisions.Decision | None:
    """Return the last decision on a version that is not the gate's refusal or question."""
    past = [each for each in decisions.of(version) if each.what not in ("refused", "waits")]
    return past[-1] if past else None
