#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same drawing program in the same guest, on our device and on QEMU's own virtio-gpu-pci.

Guests run side by side, one for each door, and draw in turns (A-B-C-A-B-C...), so that what else
the machine does meets all of them. On both sides somebody consumes the pixels: our device encodes
PNG files as fast as it can, QEMU's VNC server feeds a client that always asks for the next change.
A door whose consumer has not seen the last frame of each turn fails the benchmark.
"""

import argparse
import contextlib
import json
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / "guest"), str(HERE)]
# pylint: disable=wrong-import-position
from guest_programs import build_guest_programs
from lab import Device, Door, Guest, LabError
from vnc_client import VncClient

TARGET = 0.9  # of QEMU's own frames a second
PLACE = (8, 8)  # pixels: inside the strip that the program draws
OUR_DOORS = [Door.VFIO_USER, Door.VHOST_USER]
MODES = ["flip", "dirty"]


class PictureWatcher:
    """Remembers the colours at one place of the pictures that our device writes."""

    def __init__(self, path, place):
        self.place = place
        self.seen = set()
        self.error = None
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        from PIL import Image  # installed by setup, so not at the top
        before = None
        # Seldom: each look costs processor time that the guest and the device want.
        while not self._stop.wait(0.3):
            try:
                status = self._path.stat()
                if (status.st_ino, status.st_mtime_ns) == before:
                    continue
                before = (status.st_ino, status.st_mtime_ns)
                with Image.open(self._path) as image:
                    red, green, blue = image.convert("RGB").getpixel(self.place)
                self.seen.add(red << 16 | green << 8 | blue)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.error = error


class Contender:
    """A guest on one door, with the consumer of its pixels."""

    def __init__(self, door, folder, programs, size, processors):
        self.door = door
        self.consumer = None
        self.samples = {}  # mode -> [{figure: value}]
        self._device = None
        extra = []
        socket_path = None
        width, height = size
        if door is Door.QEMU_OWN:
            extra = ["-vnc", f"unix:{folder}/vnc.sock",
                     "-global", f"virtio-gpu-device.xres={width}",
                     "-global", f"virtio-gpu-device.yres={height}"]
        else:
            self._device = Device(door, folder / "device", arguments=[
                "--gpu", "none", "--display", f"png:{folder}/pictures",
                "--outputs", f"{width}x{height}",
                "--hostmem", "256M"])
            socket_path = self._device.socket_path
        self._folder = folder
        self.guest = Guest(door, socket_path, folder / "guest", agent=True, files=programs,
                           memory="512M", processors=processors, extra=extra)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            if self._device:
                stack.enter_context(self._device)
            stack.enter_context(self.guest)
            self.guest.expect_agent()
            if self._device:
                self.consumer = PictureWatcher(self._folder / "pictures" / "scanout-0.png", PLACE)
            else:
                self.consumer = VncClient(self._folder / "vnc.sock", PLACE)
            stack.callback(self.consumer.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def processes(self):
        return [process.pid for process in
                [self.guest.process, *([self._device.process] if self._device else [])]]

    def draw(self, mode, amount):
        """One turn; keeps its figures and returns them."""
        before = processor_seconds(self.processes())
        output = self.guest.check(f"swede_draw {mode} {amount}", 120)
        used = processor_seconds(self.processes()) - before
        line = re.search(r"SWEDE draw (.*)", output)
        if not line:
            raise LabError(f"swede_draw {mode} on {self.door.value} said: {output!r}")
        words = dict(word.split("=") for word in line[1].split())
        if mode == "damage":
            sample = {"p50_us": float(words["p50"]), "p99_us": float(words["p99"])}
        else:
            frames, seconds = int(words[mode]), float(words["seconds"])
            sample = {"frames_per_second": frames / seconds, "processor_ms_per_frame":
                      1000 * used / frames}
            self._check_consumed(int(words["last"], 16), mode)
        self.samples.setdefault(mode, []).append(sample)
        return sample

    def _check_consumed(self, last, mode):
        deadline = time.monotonic() + 5
        while last not in self.consumer.seen:
            if self.consumer.error or time.monotonic() > deadline:
                raise LabError(f"{self.door.value}: the last frame of '{mode}' (colour {last:06x}) "
                               f"never reached the consumer of the pixels: "
                               f"{self.consumer.error or 'it was not among those seen'}")
            time.sleep(0.05)
        self.consumer.seen.clear()


def processor_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])  # utime, stime
    return total / 100  # ticks; USER_HZ is 100 on every Linux


def median_of(samples, figure):
    return statistics.median(sample[figure] for sample in samples)


def measure(contenders, turns, seconds, count, say):
    """Turns in which every contender draws once in each mode."""
    for turn in range(turns):
        for mode in MODES + ["damage"]:
            for contender in contenders:
                sample = contender.draw(mode, count if mode == "damage" else seconds)
                say(f"turn {turn + 1} of {turns}: {mode:6} {contender.door.value:15} " +
                    ", ".join(f"{key} {value:.4g}" for key, value in sample.items()))


def summary(contenders):
    """Medians of each door, and ratios to QEMU's own in the same turns."""
    own = next(contender for contender in contenders if contender.door is Door.QEMU_OWN)
    figures = {}
    for contender in contenders:
        doors = figures.setdefault(contender.door.value, {})
        for mode, samples in contender.samples.items():
            for figure in samples[0]:
                doors[f"{mode} {figure}"] = median_of(samples, figure)
            if contender is not own and mode in MODES:
                ratios = sorted(ours["frames_per_second"] / theirs["frames_per_second"]
                                for ours, theirs in zip(samples, own.samples[mode]))
                doors[f"{mode} ratio"] = statistics.median(ratios)
                doors[f"{mode} ratio min"] = ratios[0]
                doors[f"{mode} ratio max"] = ratios[-1]
    return figures


def report(figures, size):
    own = figures[Door.QEMU_OWN.value]
    print(f"guest draw, {size[0]}x{size[1]}; ratios to QEMU's own virtio-gpu-pci, at least "
          f"{TARGET}")
    for door, values in figures.items():
        for mode in MODES:
            text = (f"  {door:15} {mode:6} {values[f'{mode} frames_per_second']:8.1f} frames/s "
                    f"{values[f'{mode} processor_ms_per_frame']:7.3f} ms processor time a frame")
            if values is not own:
                text += (f"  ratio {values[f'{mode} ratio']:.2f} (turns: "
                         f"{values[f'{mode} ratio min']:.2f} to {values[f'{mode} ratio max']:.2f})")
            print(text)
        print(f"  {door:15} damage 64x64, fenced: p50 {values['damage p50_us']:.0f} us, "
              f"p99 {values['damage p99_us']:.0f} us")


def main():
    parser = argparse.ArgumentParser(prog="guest_draw", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each turn and mode")
    parser.add_argument("--count", type=int, default=500, help="small damages in each turn")
    parser.add_argument("--size", default="1920x1080", help="of the screen, WIDTHxHEIGHT")
    parser.add_argument("--processors", type=int, default=2, help="of each guest")
    parser.add_argument("--doors", nargs="+", default=[door.value for door in OUR_DOORS],
                        choices=[door.value for door in OUR_DOORS])
    arguments = parser.parse_args()
    size = tuple(int(edge) for edge in arguments.size.split("x"))
    doors = [Door(name) for name in arguments.doors] + [Door.QEMU_OWN]

    def say(text):
        print(f"guest_draw: {text}", file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swede-")))
        programs = build_guest_programs([HERE / "programs" / "swede_draw.c"], folder)
        contenders = []
        for door in doors:
            say(f"booting a guest on {door.value}")
            (folder / door.value).mkdir()
            contenders.append(stack.enter_context(
                Contender(door, folder / door.value, programs, size, arguments.processors)))
        measure(contenders, arguments.turns, arguments.seconds, arguments.count, say)
        figures = summary(contenders)
        samples = {contender.door.value: contender.samples for contender in contenders}
    report(figures, size)
    if arguments.json:
        everything = {"size": size, "target": TARGET, "figures": figures, "samples": samples}
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")
    missed = [door for door, values in figures.items()
              if any(values.get(f"{mode} ratio", TARGET) < TARGET for mode in MODES)]
    if missed:
        print(f"below {TARGET}: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as failure:
        print(f"guest_draw: {failure}", file=sys.stderr)
        sys.exit(1)
