# SPDX-License-Identifier: Apache-2.0
"""A guest that draws, floods, breaks its renderer and reboots for a long time, on a device that may
grow by nothing. SWEDE_SOAK_MINUTES says how long (20), SWEDE_SOAK_SEED repeats a run."""

import dataclasses
import os
import random
import re
import signal
import statistics
import sys
import time

import pytest

from lab import Door, wait_until
from test_console import preferred_mode
from test_renderer import check_console, objects, renderer_processes

MINUTES = float(os.environ.get("SWEDE_SOAK_MINUTES", "20"))
ROUND_SECONDS = 30
LEAST_ROUNDS = 4
WARM_UP_ROUNDS = 1  # allocators and buffers reach their size
MAX_GROWTH = 4_000_000  # bytes between the medians of the first and of the last third
SIZES = ["1280x800", "1024x768", "1920x1080", "640x480", "1366x768"]
# What a kernel says when something is wrong that no renderer's death explains.
KERNEL_TROUBLE = r"BUG:|Oops|general protection|hung_task|blocked for more than|soft lockup|KASAN"


@dataclasses.dataclass(frozen=True)
class Sample:
    """The device when a guest has just booted and a renderer has served it once."""

    minutes: float
    resident: int  # bytes of RssAnon
    files: int
    threads: int
    renderers: int
    objects: dict

    def leavings(self):
        """What must be equal in each sample."""
        return (self.files, self.threads, self.renderers, self.objects)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return 1024 * int(re.search(r"^RssAnon:\s*(\d+) kB", status.read(), re.M)[1])


class Soak:
    """Does one random thing after another to a machine, round by round."""

    def __init__(self, machine, chance):
        self.machine = machine
        self.guest = machine.guest
        self.chance = chance
        self.done = {}  # action -> how often
        self.samples = []
        self._started = time.monotonic()
        self._seed = 0
        self._actions = {
            self.flood: 4, self.blobs: 4, self.fences: 3, self.kill_renderer: 3, self.fault: 3,
            self.resize: 2, self.replug: 1, self.picture: 2, self.reset_in_flight: 1,
        }

    def round(self, seconds):
        """Reboots, takes a sample, then plays until the time is over and looks at the picture."""
        self.calm()
        self.reset()
        self.guest.check("swede_faults serve", 120)
        self.take_sample()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            action = self.chance.choices(list(self._actions), list(self._actions.values()))[0]
            self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
            action()
        self.calm()
        trouble = re.search(KERNEL_TROUBLE + ".*", self.guest.check("dmesg"))
        assert not trouble, f"the guest's kernel says: {trouble[0]}"
        self.picture()

    def calm(self):
        """Everything that the actions started has ended, the outputs are as at the start."""
        self.guest.check("killall -q swede_kms swede_blobs swede_fences; true", 120)
        self.machine.device.control("resize", "0", SIZES[0])
        self.machine.device.control("plug", "1")

    def reset(self):
        """The reset button. On vhost-user QEMU 11.1 does not survive it while blobs are mapped (see
        src/transports/vhost_user/README.md), so there they go first."""
        if self.machine.door is Door.VHOST_USER:
            self.guest.check("killall -q swede_blobs swede_fences; true", 120)
            wait_until(lambda: objects(self.machine)["mappings"] == 0, 30,
                       "the end of all mappings")
        self.guest.reset()

    def take_sample(self):
        first = self.samples[0] if self.samples else None

        def sample():
            pid = self.machine.device.process.pid
            census = self.machine.device.census()
            return Sample((time.monotonic() - self._started) / 60, resident(pid), census["files"],
                          census["threads"], len(renderer_processes(self.machine)),
                          objects(self.machine))

        # The driver gives back what `serve` used a little later: wait for two equal looks, or, if
        # there are samples, for what they had.
        def settled():
            before = sample()
            time.sleep(0.5)
            after = sample()
            expected = (first or before).leavings()
            return after if after.leavings() == expected else None

        try:
            self.samples.append(wait_until(settled, 20, "the census after a boot"))
        except Exception as error:
            raise AssertionError(f"after {self.done} the device holds {sample()}, at first it "
                                 f"held {first}") from error

    # --- what may happen ---

    def flood(self):
        self.machine.blank()
        self.guest.check(f"swede_kms flood {self.chance.randint(1, 4)} > /tmp/flood 2>&1 &", 120)

    def blobs(self):
        self.guest.check(f"swede_blobs {self.chance.randint(1, 200)} "
                         f"{4096 * self.chance.randint(1, 32)} {self.chance.randint(1, 3)} "
                         "> /tmp/blobs 2>&1 &", 120)

    def fences(self):
        self.guest.check("swede_fences > /tmp/fences 2>&1 &", 120)

    def kill_renderer(self):
        for pid in renderer_processes(self.machine):
            os.kill(pid, signal.SIGKILL)
        time.sleep(self.chance.uniform(0, 0.5))

    def fault(self):
        # Another action's fault may hit the context of this one: only the device is judged.
        self.guest.run(f"swede_faults {self.chance.choice(['refuse', 'lose', 'crash', 'hang'])}",
                       120)

    def resize(self):
        self.machine.device.control("resize", "0", self.chance.choice(SIZES))

    def replug(self):
        self.machine.device.control("unplug", "1")
        time.sleep(self.chance.uniform(0, 1))
        self.machine.device.control("plug", "1")

    def picture(self):
        self.machine.device.control("resize", "0", SIZES[0])
        wait_until(lambda: preferred_mode(self.machine) == SIZES[0], 30, "the size of the start")
        self._seed += 1
        check_console(self.machine, self._seed)

    def reset_in_flight(self):
        """With all that the other actions have started still going on."""
        self.reset()
        self.guest.check("true", 120)


def growth(samples):
    """Bytes by which the last third's median is above the first third's."""
    third = max(len(samples) // 3, 1)
    return (statistics.median(sample.resident for sample in samples[-third:])
            - statistics.median(sample.resident for sample in samples[:third]))


def report(soak, seed):
    lines = [f"seed {seed}, {len(soak.samples)} rounds, {sum(soak.done.values())} actions: " +
             ", ".join(f"{name} {count}" for name, count in sorted(soak.done.items()))]
    lines += [f"{sample.minutes:6.1f} min  RssAnon {sample.resident / 1e6:6.2f} MB  "
              f"{sample.files} files  {sample.threads} threads  {sample.renderers} renderers  "
              f"{sample.objects}" for sample in soak.samples]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 900)
def test_nothing_grows(rendered, record_property):
    seed = int(os.environ.get("SWEDE_SOAK_SEED") or random.randrange(1 << 32))
    soak = Soak(rendered, random.Random(seed))
    deadline = time.monotonic() + MINUTES * 60 / 2  # the other half is for the other door
    try:
        while time.monotonic() < deadline or len(soak.samples) < LEAST_ROUNDS:
            soak.round(ROUND_SECONDS)
    finally:
        print(report(soak, seed), file=sys.stderr)
    grown = growth(soak.samples[WARM_UP_ROUNDS:])
    minutes = soak.samples[-1].minutes - soak.samples[0].minutes
    record_property(f"soak {rendered.door.value}",
                    f"{len(soak.samples)} boots and {sum(soak.done.values())} actions in "
                    f"{minutes:.0f} min, RssAnon {soak.samples[-1].resident / 1e6:.1f} MB, "
                    f"grown by {grown / 1e6:.2f} MB, files and threads as at the first boot")
    assert grown <= MAX_GROWTH, report(soak, seed)
    rendered.guest.stop()
    wait_until(lambda: rendered.device.census() == rendered.census_before, 15,
               f"the census at start ({rendered.census_before}) after the guest has gone")
    assert not renderer_processes(rendered)
