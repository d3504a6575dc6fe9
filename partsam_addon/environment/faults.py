# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an installation failed, in words that name the next step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...backend.errors import PartSAMError

REASONS: tuple[tuple[str, str], ...] = (
    (
        r"No space left on device|os error 28\b|os error 112\b|Errno 28|not enough space on the disk|"
        r"Disk quota exceeded|os error 122\b",
        "The disk is full. Free some space and set up again; finished downloads are kept.",
    ),
    (
        r"os error 206\b|WinError 206|Long Path support|File name too long|os error 36\b",
        "A file path became too long for Windows. Set PARTSAM_FOLDER to a short folder, such as C:\\partsam.",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed|"
        r"SSLError",
        "The package server's certificate was not accepted. A company network may need its own certificate "
        "in the system's trust store, or in SSL_CERT_FILE.",
    ),
    (
        r"\b407\b|Proxy Authentication Required|proxy authentication",
        "The proxy wants a name and a password: set HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT, and set up "
        "again.",
    ),
    (
        r"\b40[13] (Forbidden|Unauthorized)|status code: 40[13]|HTTP status client error \(40[13]",
        "The package server refused (401 or 403). A company network may block it, or a mirror may want a "
        "password: check the index in uv's settings, or use an offline folder of wheels.",
    ),
    (
        r"Hash mismatch|hash mismatch|do not match the hashes",
        "A downloaded package is not the one that was expected (wrong hash). Set up again; if it happens "
        "again, the package server or a proxy changes files.",
    ),
    (
        r"operation timed out|timed out|network timeout|Timeout",
        "The package server stopped answering. Check the internet connection, and set up again; finished "
        "downloads are kept.",
    ),
    (
        r"error decoding response body|unexpected end of file|end of file before message length|"
        r"invalid package format|Invalid zip file|IncompleteRead|invalid Zip archive|BadZipFile|"
        r"Failed to extract|corrupt deflate|unexpected EOF",
        "A download was damaged or cut off. Set up again; finished downloads are kept.",
    ),
    (
        r"dns error|Name or service not known|Temporary failure in name resolution|getaddrinfo failed|"
        r"client error \(Connect\)|Connection refused|Network is unreachable|tunnel error|"
        r"error sending request|Failed to establish a new connection|nodename nor servname",
        "The package server could not be reached. Check the internet connection and the proxy, and set up "
        "again.",
    ),
    (
        r"glibc|GLIBC|manylinux_\d+_\d+_\S+, but",
        "This Linux is too old for PyTorch, which needs glibc 2.28 (Debian 10, Ubuntu 20.04 or newer).",
    ),
    (
        r"has no wheels? with a matching|no wheels are available|not have a wheel for the current platform|"
        r"No matching distribution found",
        "There is no package for this system and Python. PyTorch has none for Intel Macs and 32-bit systems.",
    ),
    (
        r"Exec format error|os error 8\b|os error 193\b|not a valid Win32 application|Bad CPU type",
        "The program is made for another kind of processor: install PartSAM's zip for this system.",
    ),
    (
        r"os error 32\b|os error 5\b|WinError 32|WinError 5\b|being used by another process|Access is denied",
        "A file is held by another program, often an antivirus scanner, or may not be written. Wait a minute "
        "and set up again; if it stays, exclude PartSAM's folder from the scanner.",
    ),
    (
        r"Permission denied|os error 13\b|Read-only file system|os error 30\b|Operation not permitted",
        "The folder for the environment cannot be written to. Check its permissions, or set PARTSAM_FOLDER "
        "to another folder.",
    ),
    (
        r"No interpreter found|Failed to inspect Python interpreter|Failed to query Python|"
        r"Querying Python at",
        "The Python that the environment was to be made from does not work. Install Python 3.11 or newer.",
    ),
)

HINTS = {
    "WinError 126": "a DLL is missing: install the Microsoft Visual C++ Redistributable",
    "WinError 1114": "a DLL failed to start: install the Microsoft Visual C++ Redistributable",
    "DLL load failed": "install the Microsoft Visual C++ Redistributable",
    "GLIBC": "this Linux is too old for the installed package",
    "Illegal instruction": "this processor is too old for the installed package",
    "incompatible architecture": "the package is made for another kind of processor",
    "no kernel image": "this PyTorch has no code for the graphics card: press Set Up",
    "driver version is insufficient": "the graphics driver is too old: update it",
}
"""What to add to a message of a library that cannot be used."""

TRANSIENT = re.compile(r"os error 32\b|os error 5\b|WinError 32|WinError 5\b|being used by another process")
"""A scanner that looks at a new file holds it for seconds: worth another try."""


class InstallFailed(PartSAMError):
    """The environment could not be made; the one in use, if any, stays.

    lines: the last lines of what the installation printed, oldest first
    """

    def __init__(self, message: str, *, lines: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


def explain_failure(lines: Sequence[str]) -> str:
    """The likeliest reason for a failure that printed `lines`."""
    output = "\n".join(lines)
    for pattern, explanation in REASONS:
        if re.search(pattern, output):
            return explanation
    errors = [line for line in lines if line.lower().startswith("error")]
    last = (errors or [line for line in lines if line.strip()] or ["it printed nothing"])[-1]
    return f"Setting up failed: {last.strip()}"


def hinted(problem: str) -> str:
    """`problem` with what to do about it, where that is known."""
    hints = dict.fromkeys(hint for sign, hint in HINTS.items() if sign in problem)
    return "; ".join([problem, *hints])
