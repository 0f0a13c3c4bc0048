"""What asking the hub raised, as one error in the words of the user's call."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmkit.errors import HubError, LlmkitError
from llmkit.models.hub_lookup import WAYS_ON, HubUnreachableError, hub_address, patience
from llmkit.models.local_folder import CONFIG_FILE
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import beside_nearest

LOG_IN = "set HF_TOKEN or run: hf auth login"


def explain_hub_failure(error: Exception, model: ResolvedModel, file: str) -> LlmkitError:
    """Return the one error for the user from what the hub's client raised over `file`; raise what it cannot explain."""
    explain = row_for(HUB_FAILURES, error)
    if explain is None:
        raise error
    return explain(error, model, file)


def why_unreachable(error: Exception | None, model: ResolvedModel, file: str) -> HubUnreachableError | None:
    """Return why the hub said nothing of the file; None where it did, or where loading will tell what it is."""
    try:
        failure = explain_hub_failure(error, model, file) if error is not None else None
    except Exception:  # what it cannot explain
        return None
    return failure if isinstance(failure, HubUnreachableError) else None


def is_a(error: BaseException | None, class_name: str) -> bool:
    """Say whether the error's class, or one that it derives from, has this name."""
    return any(base.__name__ == class_name for base in type(error).__mro__)


def row_for(table: dict[str, Explanation], error: BaseException) -> Explanation | None:
    """Return the explanation for the error's class, or for the nearest one that it derives from."""
    return next((table[base.__name__] for base in type(error).__mro__ if base.__name__ in table), None)


def first_line(error: BaseException) -> str:
    """Return the error's first line, without a token that may be in it."""
    raised = re.findall(r"(?m)^[\w.]*(?:Error|Exception): (.+)$", str(error))
    lines = raised[-1:] or [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"Bearer\s+[^'\"\s]+|hf_\w{8,}", "***", lines[0]) if lines else type(error).__name__


def _gated(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"the model {model} is gated, and you have not been let in.",
        hint=f"Ask for access at {hub_address()}/{model.location}, then {LOG_IN}",
    )


def _unknown_repository(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    if _status(error) != 404 and not _says_why(error):
        return _blocked(error, model, file)
    return HubError(
        f"the hub {hub_address()} has no model '{model.name}', or it is private.",
        hint=beside_nearest(model.name, f"Check the name; for a private model {LOG_IN}"),
    )


def _unknown_revision(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"the model '{model.name}' has no revision '{model.revision or 'main'}'.",
        hint="A revision is a branch, a tag or a commit id; without --revision it is main.",
    )


def _unknown_file(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    hint = "It is not a transformers model, or not at this revision." if file == CONFIG_FILE else None
    return HubError(f"the model {model} has no {file} on the hub {hub_address()}.", hint=hint)


def _disabled(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(f"the hub {hub_address()} has disabled the model '{model.name}'.")


def _refused(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    status = _status(error)
    if status == 401 and _says_why(error):
        return HubError(
            f"the hub {hub_address()} does not accept the token for '{model.name}' (401).",
            hint=f"For a public model unset HF_TOKEN; else renew the token: {LOG_IN}",
        )
    if status in (401, 403):
        return _blocked(error, model, file)
    if status == 404:
        return _not_a_hub(error, model, file)
    what = "takes no more requests for now" if status == 429 else "failed"
    return HubUnreachableError(model, file, f"the hub {hub_address()} {what} ({status})")


def _blocked(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    """Explain a refusal that says nothing of the repository: a proxy's, mostly, whatever the model."""
    refused = HubUnreachableError(model, file, f"the hub {hub_address()} refuses access ({_status(error)})")
    refused.hint = f"A proxy on the way may block it; to a model that is not public, {LOG_IN}. {refused.hint}"
    return refused


def _status(error: BaseException) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


def _says_why(error: BaseException) -> bool:
    """Tell whether the hub itself refused: its headers say why, which nobody's before it do."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    return "X-Error-Code" in headers or "X-Error-Message" in headers


def _odd_token(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError("the hub's token has characters that no token has.", hint=f"Correct it: {LOG_IN}")


def _not_cached(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    cause = error.__cause__
    if isinstance(cause, Exception) and row_for(HUB_FAILURES, cause) is not None:
        return explain_hub_failure(cause, model, file)
    return offline_or_silent(error, model, file)


def offline_or_silent(error: BaseException | None, model: ResolvedModel, file: str) -> LlmkitError:
    """Explain a file that did not come, by the setting that forbids asking or else by a hub that says nothing."""
    from huggingface_hub import constants

    silent = f"the hub {hub_address()} did not give it"
    return HubUnreachableError(model, file, "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else silent)


def _not_a_hub(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(
        model, file, f"{hub_address()} does not answer like a hub (HF_ENDPOINT, a proxy?)"
    )


def _timed_out(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {hub_address()} did not answer in {patience():g} s")


def _no_connection(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(
        model, file, f"the hub {hub_address()} cannot be reached ({first_line(error)})"
    )


def cut_off(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    """Explain a download that ended early."""
    return HubError(
        f"the download of {model} was cut off: {first_line(error)}.",
        hint="Run it again: what is there already is kept. " + WAYS_ON,
    )


Explanation = Callable[[BaseException, ResolvedModel, str], LlmkitError]

# By class name, most derived class first: the client's errors live in httpx or httpx2, as its version has it.
HUB_FAILURES: dict[str, Explanation] = {
    "GatedRepoError": _gated,
    "RepositoryNotFoundError": _unknown_repository,
    "RevisionNotFoundError": _unknown_revision,
    "LocalEntryNotFoundError": _not_cached,
    "EntryNotFoundError": _unknown_file,
    "RemoteEntryNotFoundError": _unknown_file,
    "DisabledRepoError": _disabled,
    "HfHubHTTPError": _refused,
    "OfflineModeIsEnabled": offline_or_silent,
    "FileMetadataError": _not_a_hub,
    "NotAHubError": _not_a_hub,
    "LocalProtocolError": _odd_token,
    "OddTokenError": _odd_token,
    "HungUpError": _no_connection,
    "RemoteProtocolError": cut_off,
    "ReadError": cut_off,
    "TimeoutException": _timed_out,
    "TimeoutError": _timed_out,
    "TransportError": _no_connection,
}
