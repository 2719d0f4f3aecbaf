# SPDX-License-Identifier: Apache-2.0
"""OpenGL ES by Mesa's Zink: natively on lavapipe, and on our device, whose renderer is on lavapipe."""

import pathlib
import re

import pytest

from lab_programs import (Running, cached, gl_environment, native_command, native_gl_environment,
                          swede_command, wait_until)
from screen import Screen

TREE = pathlib.Path(cached("gl-tree"))

# One of each kind of work: textures with mipmaps, long shaders, several passes through framebuffers,
# buffers that are mapped and those that are not, branches and loops.
SCENES = ["texture:texture-filter=mipmap", "shading:shading=phong", "desktop:effect=blur",
          "buffer:update-method=map", "buffer:update-method=subdata",
          "conditionals:fragment-steps=5:vertex-steps=5"]


@pytest.fixture(name="gl_native")
def _gl_native(native):
    def run(*words, environment=None, **rest):
        return native(*words, environment=native_gl_environment() | (environment or {}), **rest)
    return run


@pytest.fixture(name="gl_swede")
def _gl_swede(swede):
    def run(*words, environment=None, **rest):
        return swede(*words, environment=gl_environment() | (environment or {}), **rest)
    return run


def device_of_zink(renderer):
    """The device and the driver that GL_RENDERER names, if Zink draws."""
    found = re.fullmatch(r"zink Vulkan \d\.\d\s?\((.*)\)", renderer)
    assert found, f"Zink should draw, not {renderer}"
    return found[1]


@pytest.mark.parametrize("size", [256, 1001])
def test_triangle(gl_native, gl_swede, tmp_path, size):
    files = [tmp_path / "native.ppm", tmp_path / "swede.ppm"]
    lines = [run("gl_triangle", "--size", size, "--out", path).line()
             for run, path in zip((gl_native, gl_swede), files)]
    assert device_of_zink(lines[0].pop("renderer")) == device_of_zink(lines[1].pop("renderer"))
    assert [line.pop("vulkan_drivers") for line in lines] == ["libvulkan_lvp.so",
                                                              "libvulkan_gfxstream.so"]
    assert lines[0] == lines[1]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_driver_is_told_from_zink(gl_native):
    line = gl_native("gl_triangle", environment={"MESA_LOADER_DRIVER_OVERRIDE": "",
                                                 "GALLIUM_DRIVER": "llvmpipe"}).line()
    assert line["vulkan_drivers"] == ""
    with pytest.raises(AssertionError, match="Zink should draw"):
        device_of_zink(line["renderer"])


def validations(answer):
    """{scene: what glmark2 found of its picture}, and the device that drew."""
    assert answer.status == 0, answer.output[-2000:] + answer.errors[-4000:]
    [renderer] = re.findall(r"^\s*GL_RENDERER:\s+(.*)$", answer.output, re.M)
    scenes = re.findall(r"^\[(\w+)\] (.*?):? Validation: (\w+)$", answer.output, re.M)
    return {(scene, options): found for scene, options, found in scenes}, device_of_zink(renderer)


def glmark2(run, folder, scenes, seconds):
    benchmarks = [word for scene in scenes for word in ("--benchmark", scene)]
    with Screen(folder, (800, 600)) as screen:
        return validations(run(
            str(TREE / "usr/bin/glmark2-es2"), "--data-path", TREE / "usr/share/glmark2",
            "--validate", "--off-screen", *benchmarks, seconds=seconds,
            environment={"DISPLAY": screen.display}))


def test_glmark2_scenes(gl_native, gl_swede, tmp_path):
    """It compares pixels of each scene with those that it expects."""
    native = glmark2(gl_native, tmp_path, SCENES, 100)
    swede = glmark2(gl_swede, tmp_path, SCENES, 100)
    assert len(swede[0]) == len(SCENES)
    assert set(swede[0].values()) == {"Success"}
    assert swede == native


def pixels_of_gears(picture):
    """How many are clearly red, green and blue, as the three gears are."""
    channels = [picture[..., i].astype(int) for i in range(3)]
    return [int(((one > 100) & (one > 2 * channels[i - 1]) & (one > 2 * channels[i - 2])).sum())
            for i, one in enumerate(channels)]


@pytest.mark.parametrize(("name", "where"), [("glxgears", "native"), ("glxgears", "swede"),
                                             ("es2gears_x11", "swede")])
def test_gears_turn_in_a_window(tmp_path, name, where):
    """By GLX and OpenGL, and by EGL and OpenGL ES."""
    command, environment, driver = {
        "native": (native_command, native_gl_environment(), "libvulkan_lvp.so"),
        "swede": (swede_command, gl_environment(), "libvulkan_gfxstream.so")}[where]
    [gears] = (TREE / "usr/bin").glob(f"{name}*")
    with Screen(tmp_path) as screen, \
            Running(command(str(gears)), tmp_path, environment | {"DISPLAY": screen.display}) as run:
        def seen():
            assert run.process.poll() is None, run.log()[-4000:]
            red, green, blue = pixels_of_gears(screen.picture())
            return red > 8000 and green > 1500 and blue > 1500
        wait_until(seen, "the picture of three gears", 90)
        first = screen.picture().copy()
        wait_until(lambda: (screen.picture() != first).any(), "a turn of the gears", 90)
        pids = [run.process.pid, *run.descendants()]
        assert any(f"/{driver}" in pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in pids
                   if pathlib.Path(f"/proc/{pid}/exe").resolve() == gears.resolve())


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_all_of_glmark2(gl_native, gl_swede, tmp_path):
    """Some scenes have nothing to compare with: they answer "Unknown", natively too."""
    native, swede = (glmark2(run, tmp_path, [], 600) for run in (gl_native, gl_swede))
    assert list(swede[0].values()).count("Success") > 20
    assert "Failure" not in swede[0].values()
    assert swede == native
