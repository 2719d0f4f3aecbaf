#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a Wayland client costs more on a cross-domain channel than on the compositor's own socket.

One client (programs/wayland_rows.c) on one sway without a screen, in turn on the socket, on a channel of the
C library in its own process, and on waypipe over a Unix socket: wl_display.sync, and full frames of
1920x1080 in wl_shm, each drawn anew. The compositor draws with the processor as well, so frames are
those of all three together.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
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
# Frame callbacks come with the output's refresh, so it must be faster than anybody draws.
FAST_OUTPUT = f"output * mode --custom {SIZE[0]}x{SIZE[1]}@1000Hz"


def build_folder():
    return REPOSITORY / os.environ.get("SWEDE_BUILD", "build")


def compile_client(folder):
    target = folder / "wayland_rows"
    subprocess.run(["cc", "-O2", f"-I{REPOSITORY}/include", f"-I{REPOSITORY}/tests/guest/programs", "-o", target,
                    REPOSITORY / "bench" / "programs" / "wayland_rows.c", "-ldl", "-lpthread"], check=True)
    return target


class Client:
    """Runs the client on one way to the compositor."""

    def __init__(self, program, way, socket):
        self.command = [program, way, socket]

    def figures(self, *words):
        output = subprocess.run([*map(str, self.command), *map(str, words)], check=True, timeout=300,
                                stdout=subprocess.PIPE, text=True).stdout
        return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", output)}


@contextlib.contextmanager
def waypipe(sway, folder):
    """The socket of a waypipe whose two ends are connected by a Unix socket."""
    middle, display = folder / "waypipe", folder / "waypipe-display"
    near = subprocess.Popen(["waypipe", "-s", middle, "client"],
                            env=dict(os.environ, XDG_RUNTIME_DIR=str(sway.folder),
                                     WAYLAND_DISPLAY=sway.socket.name))
    far = subprocess.Popen(["waypipe", "-s", middle, "--display", display, "server", "--", "sleep", "600"],
                           env=dict(os.environ, XDG_RUNTIME_DIR=str(folder)))
    try:
        deadline = time.monotonic() + 20
        while not display.exists():
            assert time.monotonic() < deadline, "waypipe does not start"
            time.sleep(0.05)
        yield display
    finally:
        for process in (far, near):
            process.terminate()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, help="write the figures there, as JSON")
    arguments = parser.parse_args()
    library = build_folder() / "src" / "transports" / "c_abi" / "librutabaga_gfx_ffi.so.0"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = compile_client(folder)
        sway = Sway(FAST_OUTPUT)
        stack.callback(sway.close)
        clients = {"direct": Client(program, "direct", sway.socket),
                   "channel": Client(program, library, sway.socket)}
        if shutil.which("waypipe"):
            clients["waypipe"] = Client(program, "direct", stack.enter_context(waypipe(sway, folder)))
        rounds = {name: [] for name in clients}
        for _ in range(arguments.rounds):  # in turn, so that all see the same machine
            for name, client in clients.items():
                rounds[name].append({**client.figures("sync", SYNCS),
                                     "frames_per_second": client.figures("frames", *SIZE, FRAMES)["per_second"]})
        found = {name: {key: statistics.median(entry[key] for entry in entries)
                        for key in ("p50_us", "p99_us", "frames_per_second")} for name, entries in rounds.items()}
        found["calls_per_second"] = clients["channel"].figures("calls", CALLS)["per_second"]
    direct, channel = found["direct"], found["channel"]
    print(f"wl_display.sync, p50:  direct {direct['p50_us']:.1f} us, channel {channel['p50_us']:.1f} us")
    print(f"wl_display.sync, p99:  direct {direct['p99_us']:.1f} us, channel {channel['p99_us']:.1f} us: "
          f"{channel['p99_us'] - direct['p99_us']:+.1f} us")
    for name, entry in found.items():
        if name not in ("direct", "calls_per_second"):
            print(f"frames of {SIZE[0]}x{SIZE[1]}: {name} {entry['frames_per_second']:.1f} a second, direct "
                  f"{direct['frames_per_second']:.1f}: {entry['frames_per_second'] / direct['frames_per_second']:.2f}")
    print(f"calls of the C library: {found['calls_per_second']:.0f} a second (a resource made and gone)")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
