# SPDX-License-Identifier: Apache-2.0
"""Memory of the device: what a program left is never seen, what is too much is refused."""

import os
import signal

from lab_programs import wait_until


def test_memory_runs_out_and_the_program_works_on(swede):
    answer = swede("vk_memory", "--chunk-megabytes", 16, "--fresh-megabytes", 0,
                   "--most-megabytes", 4096, options=["--max-host-memory", "256M"]).line()
    assert answer["end"] == "VK_ERROR_OUT_OF_DEVICE_MEMORY"
    # The limit holds for all that the device keeps for the program, so less is left for it.
    assert 128 <= answer["taken_megabytes"] <= 256


def test_memory_below_the_limit_is_had(swede):
    answer = swede("vk_memory", "--chunk-megabytes", 16, "--fresh-megabytes", 0,
                   "--most-megabytes", 192, options=["--max-host-memory", "512M"]).line()
    assert (answer["end"], answer["taken_megabytes"]) == ("not reached", 192)


def test_memory_of_a_program_that_was_killed_is_not_seen(started, swede):
    """Its words must not be in memory that the next program gets, of either kind."""
    busy = started("vk_busy", "--megabytes", 64)
    assert busy.wait_for_line()["running"]
    processes = busy.descendants()
    assert len(processes) >= 2, f"a program and its renderer are expected: {processes}"
    busy.kill_program()
    assert busy.wait(30) == 128 + signal.SIGKILL
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes),
               "the end of the program's renderer")
    answer = swede("vk_memory", "--fresh-megabytes", 128, "--most-megabytes", 64).line()
    assert answer["fresh_nonzero_words"] == 0


def test_memory_of_a_program_that_runs_is_not_seen(started, swede):
    assert started("vk_busy", "--megabytes", 64).wait_for_line()["running"]
    answer = swede("vk_memory", "--fresh-megabytes", 128, "--most-megabytes", 64).line()
    assert answer["fresh_nonzero_words"] == 0
