# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an installation failed, in words that name the next step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...backend.errors import PartSAMError

REASONS: tuple[tuple[str, str], ...] = (
    (
        r"No space left on device|Errno 28|not enough space on the disk|Disk quota exceeded",
        "The disk is full. Free some space and install again.",
    ),
    (
        r"WinError 206|Long Path support|File name too long",
        "A file path became too long for Windows. Enable long paths (search for 'Long Path support' in "
        "Microsoft's documentation), or make the environment yourself in a short folder.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The package server's certificate was not accepted. A company network may need its own certificate "
        "in pip's settings (PIP_CERT).",
    ),
    (
        r"Failed to establish a new connection|Temporary failure in name resolution|getaddrinfo failed|"
        r"Name or service not known|nodename nor servname|Max retries exceeded|Network is unreachable|"
        r"Connection refused|Read timed out|ProxyError",
        "The package server could not be reached. Check the internet connection and the proxy, and install "
        "again.",
    ),
    (
        r"HASH|do not match the hashes|BadZipFile|invalid wheel|IncompleteRead",
        "A download was damaged. Install again.",
    ),
    (
        r"No matching distribution found for (?P<what>[^\s(]+)",
        "There is no package {what} for this Python and system. Choose another Python in the preferences "
        "(3.11 works on most systems).",
    ),
    (
        r"ensurepip|No module named '?venv|virtual environment was not created",
        "This Python cannot make virtual environments. Choose another one in the preferences; on Debian and "
        "Ubuntu: apt install python3-venv.",
    ),
    (
        r"Permission denied|WinError 5\b|Access is denied|Read-only file system",
        "The folder for the environment cannot be written to. Check its permissions, and whether an "
        "antivirus program holds it.",
    ),
)


class InstallFailed(PartSAMError):
    """The environment could not be made; the one in use, if any, stays.

    lines: the last lines of what the installation printed, oldest first
    """

    def __init__(self, message: str, *, lines: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)

    def text(self) -> str:
        """The report in full, for a text block or the clipboard."""
        return "\n".join([str(self), "", *self.lines])


def explain_failure(lines: Sequence[str]) -> str:
    """The likeliest reason for a failure that printed `lines`."""
    output = "\n".join(lines)
    for pattern, explanation in REASONS:
        found = re.search(pattern, output)
        if found is not None:
            return explanation.format(**found.groupdict())
    errors = [line for line in lines if line.lower().startswith("error")]
    last = (errors or [line for line in lines if line.strip()] or ["it printed nothing"])[-1]
    return f"The installation failed: {last.strip()}"
