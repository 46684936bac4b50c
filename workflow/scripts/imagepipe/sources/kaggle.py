"""The files of Kaggle's competitions.

The library kagglehub finds the user's credentials and asks Kaggle, which redirects to an address
that is valid for a while. From there `downloading` takes the .zip file: kagglehub would unpack it
unchecked, and would append the rest of one file to the beginning of another.
"""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from imagepipe.config.dataset import SourceFile
from imagepipe.errors import UserError, one_line
from imagepipe.sources.downloading import (
    DEFAULT_RETRIES,
    Download,
    RetryPolicy,
    connection_errors,
    failure,
    reason,
)

NEW_TOKEN = (
    "make a token on https://www.kaggle.com/settings/api, save it as ~/.kaggle/access_token, and "
    "call again"
)


def download_competition(
    competition: str, folder: Path, retries: RetryPolicy = DEFAULT_RETRIES
) -> Path:
    """Download the .zip file with all of a competition's files to `folder`; return its path.

    The next call resumes a download, and finds a complete file that still lies there, unless Kaggle
    has another one. Raises `UserError` if the file cannot be had.
    """
    file = SourceFile(name=f"{competition}.zip")
    origin = f"competition {competition}"
    return Download(file, origin, lambda: bundle_url(competition, retries), folder, retries).run()


def bundle_url(competition: str, retries: RetryPolicy) -> str:
    """Return the address of a competition's .zip file, which Kaggle has signed for a while.

    Raises `UserError`, or `DownloadError` where another attempt may succeed.
    """
    try:  # kagglehub is an optional dependency, and takes half a second to import.
        from kagglehub.clients import build_kaggle_client
        from kagglehub.config import get_kaggle_credentials
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest
    except ImportError as error:
        problem = f"kagglehub cannot be imported ({error})"
        raise refusal(competition, problem, "run `pip install kagglehub`") from None

    class WithTimeout(HTTPAdapter):
        """Requests that do not wait forever, as those of kagglesdk do."""

        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            timeout = (retries.connect, retries.read)
            return super().send(*arguments, **options | {"timeout": timeout})

    request = ApiDownloadDataFilesRequest()
    request.competition_name = competition
    try:
        if not get_kaggle_credentials():
            raise refusal(competition, "there are no credentials for Kaggle", NEW_TOKEN)
    except ValueError as error:  # a damaged file
        raise refusal(competition, one_line(str(error)), NEW_TOKEN) from None
    with (
        connection_errors("https://www.kaggle.com", retries),
        # kagglehub prints, for example that there is a newer version of it.
        contextlib.redirect_stdout(io.StringIO()),
        build_kaggle_client() as client,
    ):
        for protocol in ("https://", "http://"):
            client.http_client()._session.mount(protocol, WithTimeout())
        try:
            with client.competitions.competition_api_client.download_data_files(request) as found:
                return str(found.url)
        except requests.HTTPError as error:
            raise explained(error, competition) from None
        except requests.RequestException:
            raise
        except ValueError:  # The token cannot be sent. The error quotes it.
            raise refusal(competition, *refused_credentials()) from None


def explained(error: requests.HTTPError, competition: str) -> Exception:
    """Return what to raise for an error that Kaggle has answered."""
    status, page = error.response.status_code, f"https://www.kaggle.com/competitions/{competition}"
    transient = failure(error.response, "Kaggle")
    if not transient.is_lasting:
        return transient
    if status == 401:
        return refusal(competition, *refused_credentials())
    problem, advice = {
        403: (
            "Kaggle does not give you its files",
            f"join it and accept its rules on {page}/rules, or correct `competition`",
        ),
        404: ("Kaggle has no such competition", "correct `competition`"),
    }.get(status, ("Kaggle does not answer as expected", "call again later"))
    # Where Kaggle gives no message, requests gives the address, which may have a signature.
    words = one_line(reason(error).partition(" for url: ")[0])[:200]
    return refusal(competition, f"{problem} ({status}: {words})", advice)


def refused_credentials() -> tuple[str, str]:
    """Return where credentials are that Kaggle refuses, and what to do."""
    home = Path("~/.kaggle").expanduser()
    settings = Path(os.environ.get("KAGGLE_CONFIG_DIR") or home)
    variables = [f"${name}" for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY") if os.environ.get(name)]
    files = [home / "access_token", home / "access_token.txt", settings / "kaggle.json"]
    places = variables + [str(path) for path in files if path.is_file()]
    where = " and ".join(places) or "this notebook"
    return f"Kaggle refuses the credentials in {where}", f"remove them, {NEW_TOKEN}"


def refusal(competition: str, problem: str, advice: str) -> UserError:
    by_hand = f"get {competition}.zip yourself and set raw_dir to its folder"
    return UserError(f"competition {competition}: {problem}; {advice}, or {by_hand}")
