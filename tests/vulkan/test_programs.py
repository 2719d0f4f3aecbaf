# SPDX-License-Identifier: Apache-2.0
"""Programs that check their own results, and whose results are those of the native driver, byte for
byte: our renderer draws with the driver that the native run draws with."""

import pytest

from lab_programs import both, program


@pytest.mark.parametrize("words", [1, 100_003, 3_000_000])
def test_compute(native, swede, tmp_path, words):
    assert len(both(native, swede, tmp_path, "vk_compute", "--words", words)) == 4 * words


@pytest.mark.parametrize("size", [256, 1001])
def test_triangle(native, swede, tmp_path, size):
    both(native, swede, tmp_path, "vk_triangle", "--size", size)


def test_scene(native, swede, tmp_path):
    both(native, swede, tmp_path, "vk_scene")


def test_threads(swede):
    assert swede("vk_threads", "--threads", 8, "--rounds", 6).line()["threads"] == 8


def test_image_shared_between_processes(swede):
    """Natively this needs /dev/udmabuf; our device has its own memory to share."""
    assert swede("vk_share").line() == {"program": "vk_share", "size": 250}


def test_border_colours_that_do_not_arrive(native, swede):
    """Mesa's gfxstream driver up to 26.1 offers them and leaves them out of what it sends."""
    assert native("vk_border").line() == swede("vk_border").line() == {"program": "vk_border"}


def test_results_differ_where_the_work_differs(native, swede):
    """The comparison above is worth something."""
    one = native("vk_compute", "--seed", 1).line()["hash"]
    assert swede("vk_compute", "--seed", 2).line()["hash"] != one


def test_exit_status_of_the_program_is_kept(swede):
    assert swede("vk_compute", "--words").status == 1  # an option without its value


def test_programs_of_the_native_driver_are_able_to_fail(native):
    answer = native("vk_compute", environment={"VK_DRIVER_FILES": "/nonexistent"})
    assert answer.status == 1
    assert program("vk_compute") not in answer.output
