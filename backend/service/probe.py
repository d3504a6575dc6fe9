# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a script inside the backend's environment: prints what is in it as one line of JSON.

    python -I probe.py torch numpy ...

The standard library only, until the named modules are tried.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import platform
import sys


def main(names: list[str]) -> dict[str, object]:
    versions: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        try:
            module = importlib.import_module(name)
            versions[name] = str(getattr(module, "__version__", ""))
        except Exception as error:  # a library broken in any way is what is looked for
            reason = (str(error).splitlines() or [""])[0]
            problems.append(f"{name} cannot be imported ({type(error).__name__}: {reason})")
    report: dict[str, object] = {
        "python": platform.python_version(),
        "versions": versions,
        "problems": problems,
    }
    if "torch" in versions:
        try:
            report |= device_report()
        except Exception as error:
            problems.append(f"the compute device does not work ({type(error).__name__}: {error})")
    return report


def device_report() -> dict[str, object]:
    """Device that would be used, its name and memory; proven to work by one computation on it."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = "cpu" if accelerator is None else accelerator.type
    if float(torch.ones(8, device=device).sum()) != 8:
        raise ArithmeticError("a sum on it is wrong")
    name, free, total = platform.processor() or platform.machine(), None, None
    if accelerator is not None:
        module = torch.get_device_module(accelerator)
        name = module.get_device_name() if hasattr(module, "get_device_name") else device
        with contextlib.suppress(RuntimeError, NotImplementedError, AttributeError):  # not all tell
            free, total = torch.accelerator.get_memory_info()
    return {"device": device, "device_name": name, "memory_free": free, "memory_total": total}


if __name__ == "__main__":
    # Libraries may print while they are imported; the report must be the only line on the real output.
    output, sys.stdout = sys.stdout, sys.stderr
    output.write(json.dumps(main(sys.argv[1:])) + "\n")
