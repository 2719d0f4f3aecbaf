# SPDX-License-Identifier: Apache-2.0
"""What the scripts say: one line a step, a moving line for long ones, one exception for failures.

Progress goes to stderr, so that stdout stays free for what other programs read.
"""

import sys
import time


class Failure(Exception):
    """Something a person has to know: the message is a whole sentence with the values in it."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A line that is redrawn on a terminal, and printed every few seconds anywhere else."""

    SILENCE_SECONDS = 5

    def __init__(self, title):
        self.title = title
        self.terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.last = self.started if not self.terminal else 0
        self.drawn = False

    def update(self, detail):
        now = time.monotonic()
        if now - self.last < (0.1 if self.terminal else self.SILENCE_SECONDS):
            return
        self.last = now
        if self.terminal:
            print(f"\r\033[K{self.title}: {detail}", end="", file=sys.stderr, flush=True)
            self.drawn = True
        else:
            say(f"{self.title}: {detail}")

    def done(self, detail="done"):
        if self.drawn:
            print("\r\033[K", end="", file=sys.stderr)
        say(f"{self.title}: {detail} ({time.monotonic() - self.started:.1f} s)")
