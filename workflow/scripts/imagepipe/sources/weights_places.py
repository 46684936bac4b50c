"""Where a file of weights is: the user's own, in a library's cache, or on a server."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import torch.hub
from huggingface_hub import try_to_load_from_cache

from imagepipe.config.dataset import SourceFile
from imagepipe.config.recipe import WeightsFile
from imagepipe.config.weights import WeightsRequest, shown_url
from imagepipe.errors import UserError
from imagepipe.files import file_hash
from imagepipe.sources.downloading import (
    Download,
    RetryPolicy,
    claimed,
    connection_errors,
    failure,
    remove,
)
from imagepipe.sources.weights_library import LibraryWeights, digits_in

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"
# In the order in which timm looks for them.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
OVERRIDE = (
    "set override='{model: {weights: PATH}}' (on frozen features: '{model: {on: {weights: PATH}}}')"
)
MOST_REDIRECTIONS = 5


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    `digits` are the first ones of its SHA-256, as many as are known. `hub` are the repository and
    the revision of a file on the Hugging Face Hub. Messages advise the `correction` where another
    attempt would not help.
    """

    url: str
    digits: str
    correction: str
    hub: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The file's name in the address, as a safe one."""
        name = urlsplit(self.url).path.rpartition("/")[2]
        return re.sub("[^A-Za-z0-9_.-]", "-", name).lstrip(".-") or "weights"

    @property
    def by_hand(self) -> str:
        known = "SHA-256" if sha256_in(self.digits) else "its SHA-256 starts with"
        known = f" ({known} {self.digits})" if self.digits else ""
        return f"get {self.name}{known} yourself and {OVERRIDE}"


@contextmanager
def weights_file(
    request: WeightsRequest,
    offered: LibraryWeights | None,
    downloads: Path,
    retries: RetryPolicy,
) -> Iterator[tuple[Path, str]]:
    """Yield the path and the origin of the file that a request asks for.

    `offered` are the library's own weights for the network. A file that is neither the user's own
    nor in a cache is downloaded to `downloads`, and removed after the block. Raises `UserError` if
    the file cannot be had.
    """
    for path in request.files:
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "the file does not exist"
            raise UserError(
                f"{path}: {problem}; correct the path in the model's weights (a relative one "
                "starts at the working directory)"
            )
        yield path, path.name
        return
    remotes = list(remotes_of(request, offered))
    for remote in remotes:
        if cached := find_cached(remote):
            logger.info("take %s", cached)
            yield cached, shown_url(canonical(remote))
            return
    remote = remotes[0]
    if variable := next((name for name in OFFLINE if is_true(os.environ.get(name, ""))), None):
        raise UserError(
            f"{shown_url(remote.url)}: is in no cache of this machine, and {variable} is set; "
            f"unset it, or {remote.by_hand}"
        )
    with claimed(downloads):
        path, remote = download(remote, downloads, retries)
        try:
            yield path, shown_url(canonical(remote))
        except UserError:
            remove(path)
            raise
        remove(path)


def remotes_of(request: WeightsRequest, offered: LibraryWeights | None) -> Iterator[Remote]:
    """Yield the files that may be taken. The first one is downloaded if none is in a cache."""
    if isinstance(request.weights, WeightsFile):
        file = request.weights
        yield Remote(file.url, file.sha256, "correct the url and sha256 of the model's weights")
        return
    if offered is None:
        raise UserError(
            f"recipe: model.weights: {request.package} has no weights for "
            f"{request.architecture}; choose another architecture, or give the path or the url "
            "and sha256 of a file"
        )
    correction = f"try another version of {request.package}"
    if offered.hub:
        repository, revision = offered.hub
        endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        for name in HUB_FILES:
            url = f"{endpoint}/{repository}/resolve/{revision}/{name}"
            yield Remote(url, "", correction, offered.hub)
    if offered.url:
        yield Remote(offered.url, digits_in(offered.url), correction)


def is_true(text: str) -> bool:
    """Read a variable as Hugging Face's libraries do."""
    return text.upper() in ("1", "ON", "YES", "TRUE")


def canonical(remote: Remote) -> str:
    """Return a file's address, on the Hub itself even if another server stands in for it."""
    if remote.hub is None:
        return remote.url
    return "/".join([HUB, remote.hub[0], "resolve", remote.hub[1], remote.name])


def find_cached(remote: Remote) -> Path | None:
    """Return a file in the cache of Hugging Face or PyTorch, unless its SHA-256 is wrong."""
    digits = remote.digits
    if remote.hub is None:
        path = Path(torch.hub.get_dir(), "checkpoints", remote.name)
        if not path.is_file():
            return None
    else:
        found = try_to_load_from_cache(remote.hub[0], remote.name, revision=remote.hub[1])
        if not isinstance(found, str):
            return None
        path = Path(found)
        # A link to a file that has its SHA-256 for a name.
        digits = sha256_in(path.resolve().name)
    if not file_hash(path).startswith(digits):
        logger.warning("%s: its SHA-256 does not start with %s; it is not used", path, digits)
        return None
    return path


def download(remote: Remote, downloads: Path, retries: RetryPolicy) -> tuple[Path, Remote]:
    """Download a file, and return its path and which one it is. Raises `UserError`."""
    found = remote
    if urlsplit(remote.url).scheme.lower() not in ("http", "https"):
        raise UserError(
            f"{shown_url(remote.url)}: is neither http nor https; {remote.correction}, or "
            f"{remote.by_hand}"
        )

    def find_url() -> str:
        nonlocal found
        if remote.hub is not None:
            found = ask_hub(remote, retries)
        return found.url

    is_whole_hash = sha256_in(remote.digits)
    path = Download(
        SourceFile(name=remote.name, checksum=f"sha256:{remote.digits}" if is_whole_hash else None),
        shown_url(remote.url),
        find_url,
        downloads,
        retries,
        correction=remote.correction,
        by_hand=remote.by_hand,
    ).run()
    # The Hub tells the hash only when it is asked for the file, others only a part of it.
    if not (sha256 := file_hash(path)).startswith(found.digits):
        remove(path)
        raise UserError(
            f"{shown_url(found.url)}: has the sha256 {sha256} where {found.digits} is expected; "
            f"nothing was kept: try again later, or {found.by_hand}"
        )
    if not found.digits:
        logger.warning("%s: there is no hash to compare with its %s", shown_url(found.url), sha256)
    return path, found


def ask_hub(remote: Remote, retries: RetryPolicy) -> Remote:
    """Return the file that a repository on the Hub has, with its SHA-256. Raises `DownloadError`.

    remote: the first of `HUB_FILES` there.
    """
    for name in HUB_FILES:
        url = target = urljoin(remote.url, name)
        for _ in range(MOST_REDIRECTIONS):
            with connection_errors(target, retries):
                response = requests.head(
                    target,
                    headers={"Accept-Encoding": "identity"},
                    allow_redirects=False,
                    timeout=(retries.connect, retries.read),
                )
            # Where the Hub redirects to a file's content, it tells the hash.
            etag = response.headers.get("X-Linked-Etag")
            if etag or not response.is_redirect:
                break
            target = urljoin(target, response.headers["Location"])
        if response.ok:
            etag = etag or response.headers.get("ETag", "")
            return Remote(url, sha256_in(etag.strip('"')), remote.correction, remote.hub)
        if response.status_code != 404:
            break
    raise failure(response, "the server")


def sha256_in(text: str) -> str:
    """Return a text if it is a SHA-256, or else ""."""
    return text if re.fullmatch("[0-9a-f]{64}", text) else ""
