# SPDX-License-Identifier: Apache-2.0
"""What `swede doctor` prints at its end works, as it is printed: a guest finds its GPU."""

import os
import re
import subprocess

import lab
import parts
from lab import stop_process, wait_until


def test_printed_command_lines_work(tmp_path):
    environment = dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path))
    doctor = subprocess.run([lab.swede_program(), "doctor"], capture_output=True, text=True,
                            timeout=120, check=False, env=environment)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    *_, device_command, qemu_command = doctor.stdout.strip().split("\n\n")
    assert device_command.endswith(" &")

    serial, log = tmp_path / "serial.log", tmp_path / "device.log"
    # Instead of a disk, a kernel and an initramfs.
    qemu_command += (f" -no-reboot -serial file:{serial} -kernel {parts.kernel()} "
                     f"-initrd {parts.image_part('min').path / 'initramfs'} "
                     "-append 'console=ttyS0 loglevel=7 panic=-1'")
    with open(log, "wb") as messages:
        device = subprocess.Popen(["sh", "-c", f"exec {device_command.removesuffix(' &')}"],
                                  stdout=messages, stderr=messages, cwd=tmp_path, env=environment)
    qemu = None
    try:
        wait_until(lambda: "Listening at" in log.read_text(), 10, "the device's start")
        qemu = subprocess.Popen(["sh", "-c", f"exec {qemu_command}"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        def features():
            assert qemu.poll() is None, qemu.stderr.read().decode(errors="replace")
            text = serial.read_text(errors="replace") if serial.exists() else ""
            return re.search(r"\[drm\] features: .*", text)

        found = wait_until(features, 120, "the driver's features")
        assert "+edid" in found[0]
        assert "+resource_blob" in found[0]
        assert "A client is connected" in log.read_text()
    finally:
        for process in (qemu, device):
            if process:
                stop_process(process)
