# SPDX-License-Identifier: Apache-2.0
"""Vulkan programs on this host: natively on lavapipe, and on Swede's GPU."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAM_SECONDS = 100


@functools.cache
def cached(name):
    """A path of the cache that scripts/setup fills."""
    return subprocess.run([REPOSITORY / "scripts" / "setup", "--print", name], check=True,
                          capture_output=True, text=True).stdout.strip()


def build_folder():
    """The build that is tested: $SWEDE_BUILD in the repository, by default build."""
    return REPOSITORY / os.environ.get("SWEDE_BUILD", "build")


def program(name):
    """One of tests/vulkan/programs, or any other by its path."""
    return name if "/" in name else str(build_folder() / "tests" / "vulkan" / "programs" / name)


def host_environment(more=None):
    """What lets a Vulkan loader find lavapipe of the cache: for native programs and for Swede."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("VK_", "LD_", "SWEDE_", "DISPLAY", "WAYLAND"))}
    libraries = cached("driver-libraries")
    return kept | {"LD_LIBRARY_PATH": libraries, "VK_DRIVER_FILES": cached("driver-lavapipe"),
                   "VK_LOADER_LAYERS_DISABLE": "~implicit~"} | (more or {})


def gl_environment():
    """What lets a program draw by EGL and OpenGL of the cache, on Zink and the Vulkan driver it has."""
    tree = pathlib.Path(cached("gl-tree"))
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    return {
        "LD_LIBRARY_PATH": f"{cached('driver-libraries')}:{libraries}",
        "__EGL_VENDOR_LIBRARY_FILENAMES": str(tree / "usr/share/glvnd/egl_vendor.d/50_mesa.json"),
        "LIBGL_DRIVERS_PATH": str(libraries / "dri"), "GBM_BACKENDS_PATH": str(libraries / "gbm"),
        # The second is for where the first is not asked: llvmpipe draws else, and nobody says so.
        "MESA_LOADER_DRIVER_OVERRIDE": "zink", "GALLIUM_DRIVER": "zink",
        # An X server without DRI3, as Xvfb is, gets pictures by the X protocol. Without these two
        # what is drawn never comes to the window, and nobody says so either.
        "LIBGL_KOPPER_DRI2": "1", "MESA_VK_WSI_DEBUG": "sw",
        "MESA_SHADER_CACHE_DISABLE": "true",
    }


def native_gl_environment():
    """Where there is no node, Zink takes a driver of the processor only if told (zink_screen.c)."""
    return gl_environment() | {"LIBGL_ALWAYS_SOFTWARE": "1"}


def native_command(name, *arguments):
    return [program(name), *map(str, arguments)]


def device_command(socket, *options):
    """A device that serves many programs, for `swede run --socket`."""
    return [str(build_folder() / "src" / "swede" / "swede"), "device", "--transport", "local",
            "--socket-path", str(socket), *map(str, options)]


def swede_command(name, *arguments, options=()):
    """The same program by `swede run`, on Mesa's driver for our device."""
    return [str(build_folder() / "src" / "swede" / "swede"), "run", "--driver",
            cached("driver-gfxstream"), *map(str, options), "--", program(name),
            *map(str, arguments)]


def newer_driver_command(name, *arguments, options=()):
    """The same on the driver of a newer Mesa, whose C library is not this host's."""
    return [str(build_folder() / "src" / "swede" / "swede"), "run", "--driver",
            cached("newer-driver-gfxstream"), *map(str, options), "--",
            cached("newer-driver-start"), program(name), *map(str, arguments)]


@dataclasses.dataclass
class Answer:
    """How a program ended, and what it said."""

    status: int
    output: str
    errors: str

    def line(self):
        """The one line of JSON of a program that ended well."""
        assert self.status == 0, f"status {self.status}: {self.output[-2000:]}{self.errors[-4000:]}"
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        assert len(lines) == 1, f"one line of JSON is expected: {self.output[-2000:]}"
        return json.loads(lines[0])


def run(command, environment=None, seconds=PROGRAM_SECONDS):
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace",
                          env=host_environment(environment), start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            raise AssertionError(f"{command} did not end within {seconds} s: {output[-2000:]}"
                                 f"{errors[-4000:]}") from None
    return Answer(process.returncode, output, errors)


def both(one, other, folder, name, *arguments):
    """What a program writes to --out when two run it (the fixtures native, swede); it is the same."""
    files = [folder / "one", folder / "other"]
    lines = [run_it(name, *arguments, "--out", path).line()
             for run_it, path in zip((one, other), files)]
    assert lines[0] == lines[1]
    assert files[0].read_bytes() == files[1].read_bytes()
    return files[1].read_bytes()


def wait_until(condition, what, seconds=30):
    """The first true value of condition(); fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


class Running:
    """A program that was started and goes on; its process group dies with the `with`."""

    def __init__(self, command, folder, environment=None):
        self.program = pathlib.Path(command[command.index("--") + 1]
                                    if "--" in command else command[0]).name
        self._log = folder / f"{pathlib.Path(command[0]).name}-{id(self):x}.log"
        self._errors = open(self._log, "w+", encoding="utf-8")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, env=host_environment(environment), start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self._errors.close()

    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for_line(self):
        """Its next line of JSON; the test's own time limit bounds the wait."""
        line = self.process.stdout.readline()
        assert line, f"it ended ({self.process.wait()}) without a line: {self.log()[-4000:]}"
        return json.loads(line)

    def program_pid(self):
        [pid] = [pid for pid, name in self.descendants().items() if name == self.program[:15]]
        return pid

    def kill_program(self):
        """SIGKILL for the program alone."""
        os.kill(self.program_pid(), signal.SIGKILL)

    def wait(self, seconds):
        return self.process.wait(seconds)

    def descendants(self):
        """{pid: name} of all processes below the one that was started."""
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    name, rest = (entry / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
                    if rest.split()[0] != "Z":
                        parents.setdefault(int(rest.split()[1]), {})[int(entry.name)] = name
        found, unseen = {}, [self.process.pid]
        while unseen:
            children = parents.get(unseen.pop(), {})
            found |= children
            unseen += children
        return found

    def renderers(self):
        """The processes of renderers: children that are not the program."""
        name = self.program[:15]  # as the kernel keeps it
        return [pid for pid, other in self.descendants().items() if other != name]
