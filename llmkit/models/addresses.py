"""Names of models with a scheme: ``hf://OWNER/NAME@REVISION`` and ``file:///PATH``."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from llmkit.errors import UsageError

_HUB, _FILE = "hf://", "file://"
_WEB = ("http://", "https://")


def plain_name(name: str, revision: str | None) -> tuple[str, str | None, bool | None]:
    """Return a model's name without its scheme, its revision, and whether it is a path; None where it may be.

    Raises:
        UsageError: the address names no model, a page of the web, another machine, or a revision beside the call's.
    """
    if name.startswith(_WEB):
        repository = "/".join(urlsplit(name).path.strip("/").split("/")[:2])
        raise UsageError(f"{name} is an address.", hint=f"Name a hub model by OWNER/NAME: {repository}")
    if name.startswith(_HUB):
        repository, _, own = name.removeprefix(_HUB).strip("/").partition("@")
        repository = repository.removeprefix("models/")
        if not repository:
            raise UsageError(f"'{name}' names no model.", hint="It looks like hf://OWNER/NAME.")
        if own and revision is not None and own != revision:
            raise UsageError(f"'{name}' and --revision {revision} name two revisions.")
        return repository, own or revision, False
    if name.startswith(_FILE):
        address = urlsplit(name)
        if address.netloc not in ("", "localhost"):
            raise UsageError(
                f"'{name}' is on another machine, {address.netloc}.", hint="A file here: file:///PATH."
            )
        if not address.path:
            raise UsageError(f"'{name}' names no file.", hint="It looks like file:///PATH.")
        return unquote(address.path), revision, True
    return name, revision, None
