# SPDX-License-Identifier: Apache-2.0
"""Whether KVM can run a guest here. /dev/kvm may open, and even make a VM, and yet run none: only a
guest that prints a kernel line proves it. The answer holds until the host's next start."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

import parts
from cache import cache_root

PROBE_SECONDS = 10


def _identity():
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return [boot, str(parts.kernel()), os.geteuid()]


def _probe():
    with tempfile.TemporaryDirectory(prefix="swede-kvm-") as folder:
        serial = pathlib.Path(folder) / "serial.log"
        process = subprocess.Popen(
            [parts.qemu_wrapper(), "-nodefaults", "-no-user-config", "-no-reboot", "-display",
             "none", "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256M", "-serial",
             f"file:{serial}", "-kernel", parts.kernel(), "-append",
             "console=ttyS0 earlyprintk=ttyS0 panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PROBE_SECONDS
            while time.monotonic() < deadline:
                gone = process.poll() is not None
                if serial.exists() and b"Linux version" in serial.read_bytes():
                    return True
                if gone:
                    return False
                time.sleep(0.05)
            return False
        finally:
            process.kill()
            process.wait()


def kvm_is_usable():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    memory = cache_root() / "kvm.json"
    identity = _identity()
    try:
        known = json.loads(memory.read_text())
        if known["identity"] == identity:
            return known["usable"]
    except (OSError, ValueError, KeyError):
        pass
    usable = _probe()
    memory.write_text(json.dumps({"identity": identity, "usable": usable}))
    return usable
