# SPDX-License-Identifier: GPL-3.0-or-later
"""A wheel of a few bytes, and a package index on 127.0.0.1 that can misbehave in the usual ways."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

WHEEL = "partsam_tiny-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: partsam-tiny\nVersion: 1.0\n"
REQUIREMENT = "partsam-tiny==1.0"


def write_wheel(folder: Path, code: str = "__version__ = '1.0'\n") -> Path:
    """A wheel of a package `partsam_tiny` that holds `code`."""
    files = {
        "partsam_tiny.py": code,
        "partsam_tiny-1.0.dist-info/METADATA": METADATA,
        "partsam_tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for name, text in files.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr("partsam_tiny-1.0.dist-info/RECORD", record + "partsam_tiny-1.0.dist-info/RECORD,,\n")
    return path


class Index(http.server.ThreadingHTTPServer):
    """A package index with one package.

    fault: "" for none, "stall", "truncate", "damage" for the wheel, or a status ("403") for every page
    asked: set when a wheel was asked for
    """

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel = wheel
        self.fault = ""
        self.asked = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.server.fault.isdigit():
            self.send_error(int(self.server.fault))
        elif self.path.endswith(".whl"):
            self._send_wheel()
        elif self.path.endswith(".metadata"):
            self._send(METADATA.encode(), "text/plain")
        elif "partsam-tiny" in self.path:
            link = f"<a href='/{WHEEL}' data-core-metadata='true'>{WHEEL}</a>"
            self._send(f"<html><body>{link}</body></html>".encode(), "text/html")
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.send_error(405)

    def _send_wheel(self) -> None:
        content, fault = self.server.wheel.read_bytes(), self.server.fault
        self.server.asked.set()
        if fault == "damage":
            content = content[:200] + bytes(byte ^ 0x55 for byte in content[200:])
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault in ("stall", "truncate"):
            self.wfile.write(content[:100])
            self.wfile.flush()
            if fault == "stall":
                self.server.released.wait(60.0)
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(wheel: Path) -> Iterator[Index]:
    """An index that serves `wheel`."""
    with Index(wheel) as index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        yield index
        index.released.set()
        index.shutdown()
