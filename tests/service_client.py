# SPDX-License-Identifier: GPL-3.0-or-later
"""A server process spoken to in protocol messages, and a mesh for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from backend.service.protocol import (
    Message,
    content_hash,
    read_message,
    write_message,
)

ROOT = Path(__file__).resolve().parents[1]
MODEL = "small-untrained"
TIMEOUT = 120.0


class Client:
    """A server process and the test's end of its pipes."""

    def __init__(self, *arguments: str, command: list[str] | None = None) -> None:
        launcher = [sys.executable, "-I", "-u", str(ROOT / "backend" / "service" / "launcher.py"), "serve"]
        self.process = subprocess.Popen(
            [*(command or launcher), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self._next_id = 1

    def send(self, kind: str, fields: dict[str, Any] | None = None, **arrays: np.ndarray) -> int:
        request_id, self._next_id = self._next_id, self._next_id + 1
        write_message(self.process.stdin, Message(kind, request_id, fields or {}, arrays))
        return request_id

    def receive(self) -> Message:
        message = read_message(self.process.stdout)
        assert message is not None, "\n".join(self.log)
        return message

    def answer(self, request_id: int) -> Message:
        """The result or error of a request; its progress is checked on the way."""
        while (message := self.receive()).kind == "progress":
            assert message.id == request_id and 0 <= message.fields["fraction"] <= 1
        assert message.id == request_id
        return message

    def ask(self, kind: str, fields: dict[str, Any] | None = None, **arrays: np.ndarray) -> Message:
        return self.answer(self.send(kind, fields, **arrays))

    def result(self, kind: str, fields: dict[str, Any] | None = None, **arrays: np.ndarray) -> Message:
        message = self.ask(kind, fields, **arrays)
        assert message.kind == "result", message.fields
        return message

    def error(self, kind: str, fields: dict[str, Any] | None = None, **arrays: np.ndarray) -> tuple[str, str]:
        message = self.ask(kind, fields, **arrays)
        assert message.kind == "error", message.fields
        return message.fields["error"], message.fields["message"]

    def close(self) -> int:
        """Close the server's input; its exit code."""
        self.process.stdin.close()
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()
        return code

    def _read_log(self) -> None:
        with self.process.stderr as stream:
            for line in stream:
                self.log.append(line.decode().rstrip())


def mesh_arrays(mesh: trimesh.Trimesh) -> dict[str, np.ndarray]:
    return {"vertices": np.array(mesh.vertices), "triangles": np.array(mesh.faces, dtype=np.int32)}


BALL = mesh_arrays(trimesh.creation.icosphere(subdivisions=3))


def encode_fields(arrays: dict[str, np.ndarray], **changes: object) -> dict[str, object]:
    return {"content": content_hash(arrays), "model": MODEL, "device": "cpu", "seed": 0, **changes}
