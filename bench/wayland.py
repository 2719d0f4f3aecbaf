#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a Wayland client costs more on a cross-domain channel than on the compositor's own socket.

One client on one sway without a screen, in turn on the socket, on a channel of the C library in its own
process, on waypipe over a Unix socket (programs/wayland_rows.c), and on a channel of the local socket, by the
ioctls of a guest (tests/guest/programs/swede_wayland.c): wl_display.sync, full frames of 1920x1080 in wl_shm,
each drawn anew, and a paste. The compositor draws with the processor as well, so frames are those of all
together.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / "protocol")]
# pylint: disable=wrong-import-position
from sway import Sway

SIZE = (1920, 1080)
SYNCS, FRAMES, CALLS = 20_000, 200, 200_000
PASTE = 10 << 20  # bytes
FIGURES = ("p50_us", "p99_us", "frames_per_second", "paste_ms")
# Frame callbacks come with the output's refresh, so it must be faster than anybody draws.
FAST_OUTPUT = f"output * mode --custom {SIZE[0]}x{SIZE[1]}@1000Hz"


def build_folder():
    return REPOSITORY / os.environ.get("SWEDE_BUILD", "build")


def compile_client(source, folder):
    libdrm = subprocess.run(["pkg-config", "--cflags", "libdrm"], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.split()
    target = folder / source.stem
    subprocess.run(["cc", "-O2", *libdrm, f"-I{REPOSITORY}/include", f"-I{REPOSITORY}/tests/guest/programs",
                    f"-I{REPOSITORY}/tests/programs", "-o", target, source, "-ldl", "-lpthread"], check=True)
    return target


def local_door(folder, socket):
    """The client in a program of the local door, whose device is a process of its own."""
    return Client(build_folder() / "src" / "swede" / "swede", "run", "--gpu", "none", "--shim",
                  build_folder() / "guest" / "shim" / "libswede-shim.so", "--wayland-socket-path", socket, "--",
                  compile_client(REPOSITORY / "tests" / "guest" / "programs" / "swede_wayland.c", folder))


class Client:
    """Runs the client on one way to the compositor."""

    def __init__(self, *command):
        self.command = command

    def figures(self, *words):
        output = subprocess.run([*map(str, self.command), *map(str, words)], check=True, timeout=120,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", output)}


def paste(sway, client):
    """Milliseconds until the client has read all that a program of the desktop has copied."""
    with sway.popen("wl-copy", "--foreground", "-t", "text/plain;charset=utf-8", stdin=subprocess.PIPE) as copy:
        copy.stdin.write(b"0123456789abcdef" * (PASTE // 16))
        copy.stdin.close()
        try:
            figures = client.figures("paste-time")
        finally:
            copy.kill()
    assert figures["bytes"] == PASTE, figures
    return figures["paste_ms"]


@contextlib.contextmanager
def waypipe(sway, folder):
    """The socket of a waypipe whose two ends are connected by a Unix socket."""
    middle, display = folder / "waypipe", folder / "waypipe-display"
    # Its children outlive it: they must not hold our output open, and end with their group.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
             "start_new_session": True}
    near = subprocess.Popen(["waypipe", "-s", middle, "client"], **quiet,
                            env=dict(os.environ, XDG_RUNTIME_DIR=str(sway.folder),
                                     WAYLAND_DISPLAY=sway.socket.name))
    far = subprocess.Popen(["waypipe", "-s", middle, "--display", display, "server", "--", "sleep", "600"], **quiet,
                           env=dict(os.environ, XDG_RUNTIME_DIR=str(folder)))
    try:
        deadline = time.monotonic() + 20
        while not display.exists():
            assert time.monotonic() < deadline, "waypipe does not start"
            time.sleep(0.05)
        yield display
    finally:
        for process in (far, near):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, help="write the figures there, as JSON")
    arguments = parser.parse_args()
    library = build_folder() / "src" / "transports" / "c_abi" / "librutabaga_gfx_ffi.so.0"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = compile_client(REPOSITORY / "bench" / "programs" / "wayland_rows.c", folder)
        sway = Sway(FAST_OUTPUT)
        stack.callback(sway.close)
        clients = {"direct": Client(program, "direct", sway.socket),
                   "channel": Client(program, library, sway.socket),
                   "local": local_door(folder, sway.socket)}
        if shutil.which("waypipe"):
            clients["waypipe"] = Client(program, "direct", stack.enter_context(waypipe(sway, folder)))
        rounds = {name: [] for name in clients}
        for _ in range(arguments.rounds):  # in turn, so that all see the same machine
            for name, client in clients.items():
                figures = {**client.figures("sync", SYNCS),
                           "frames_per_second": client.figures("frames", *SIZE, FRAMES)["per_second"]}
                if name != "waypipe":  # its pastes do not end with this client
                    figures["paste_ms"] = paste(sway, client)
                rounds[name].append(figures)
        found = {name: {key: statistics.median(entry[key] for entry in entries) for key in FIGURES if key in entries[0]}
                 for name, entries in rounds.items()}
        found["calls_per_second"] = clients["channel"].figures("calls", CALLS)["per_second"]
    direct = found["direct"]
    for name, entry in found.items():
        if name in ("direct", "calls_per_second"):
            continue
        for part in ("p50", "p99"):
            ours, theirs = entry[f"{part}_us"], direct[f"{part}_us"]
            print(f"wl_display.sync, {part}: {name} {ours:.1f} us, direct {theirs:.1f} us: {ours - theirs:+.1f} us")
        for title, key in ((f"frames of {SIZE[0]}x{SIZE[1]} a second", "frames_per_second"),
                           (f"ms for a paste of {PASTE >> 20} MB", "paste_ms")):
            if key in entry:
                print(f"{title}: {name} {entry[key]:.1f}, direct {direct[key]:.1f}: {entry[key] / direct[key]:.2f}")
    print(f"calls of the C library: {found['calls_per_second']:.0f} a second (a resource made and gone)")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
