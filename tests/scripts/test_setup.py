# SPDX-License-Identifier: Apache-2.0
"""What setup fetches, with the packages' trees made up."""

import json
import shutil
import subprocess
import sys

import pytest

import parts
import setup
from build import REPOSITORY
from report import Failure

EXTRA = ["newer-driver", "piglit"]


@pytest.fixture(name="fetched", autouse=True)
def _fetched(tmp_path, monkeypatch):
    """["names"] of the parts that were fetched, in order; ["fails"] is one that cannot be."""
    fetched = {"names": []}

    def unpack_into(apt, tree, _title, packages, _without=()):
        fetched["names"].append(apt.root.name)
        if apt.root.name == fetched.get("fails"):
            raise Failure("the mirror is away")
        libraries, icds = tree / parts.LIBRARIES, tree / "usr/share/vulkan/icd.d"
        for folder in (libraries, icds):
            folder.mkdir(parents=True)
        if "mesa-vulkan-drivers" in packages:
            for mesa_name in parts.DRIVERS.values():
                (libraries / f"libvulkan_{mesa_name}.so").touch()
                (icds / f"{mesa_name}_icd.json").write_text(json.dumps(
                    {"ICD": {"library_path": f"/usr/lib/libvulkan_{mesa_name}.so"}}))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(parts.PrivateApt, "unpack_into", unpack_into)
    monkeypatch.setattr(parts, "digest_of_file", lambda _: parts.VULKAN_REGISTRY_SHA256)
    monkeypatch.setattr(parts, "system_qemu", lambda: None)
    monkeypatch.setattr(parts, "build_image", lambda *_: 0)
    return fetched


def test_default_has_opengl_and_nothing_that_is_extra(fetched):
    assert setup.fill_cache([])
    assert "gl" in fetched["names"]
    assert not {"drivers-newer", "piglit"} & set(fetched["names"])
    assert parts.paths()["gl-tree"].is_dir()
    assert not parts.paths()["newer-driver-start"].exists()


def test_second_run_does_nothing(fetched):
    setup.fill_cache([], EXTRA)
    fetched["names"].clear()
    assert not setup.fill_cache([], EXTRA)
    assert not setup.fill_cache([])
    assert fetched["names"] == []


def test_extra_parts_are_added_to_what_is_there(fetched):
    setup.fill_cache([])
    fetched["names"].clear()
    assert setup.fill_cache([], ["newer-driver"])
    assert fetched["names"] == ["drivers-newer"]
    assert setup.fill_cache([], ["piglit"])
    assert fetched["names"] == ["drivers-newer", "piglit"]


def test_run_that_failed_is_gone_on_with(fetched):
    fetched["fails"] = "drivers-newer"
    with pytest.raises(Failure, match="the mirror is away"):
        setup.fill_cache([], EXTRA)
    assert not parts.newer_driver_part().path.exists()
    del fetched["fails"]
    fetched["names"].clear()
    assert setup.fill_cache([], EXTRA)
    assert fetched["names"] == ["drivers-newer", "piglit"]


def test_newer_driver_is_named_and_started_by_its_own_tree(fetched):
    setup.fill_cache([], ["newer-driver"])
    libraries = parts.newer_driver_part().path / "tree" / parts.LIBRARIES
    description = json.loads(parts.paths()["newer-driver-gfxstream"].read_text())
    assert description["ICD"]["library_path"] == f"{libraries}/libvulkan_gfxstream_vk.so"
    loader = libraries / "ld-linux-x86-64.so.2"
    loader.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    loader.chmod(0o755)
    answer = subprocess.run([parts.paths()["newer-driver-start"], "/bin/a b", "c"], check=True,
                            capture_output=True, text=True)
    assert answer.stdout.splitlines() == ["--library-path", str(libraries), "/bin/a b", "c"]
    assert fetched["names"][-1] == "drivers-newer"


@pytest.mark.parametrize(("words", "asked"), [
    (["--quick"], ["setup"]), ([], ["setup"]),
    (["--nightly", "--fuzz-seconds", "1"], ["setup --with-newer-driver --with-piglit"]),
    (["--nightly", "--help"], [])])
def test_a_test_run_has_set_up_what_it_uses(tmp_path, words, asked):
    scripts = tmp_path / "scripts"
    (scripts / "lib").mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts" / "test", scripts)
    (scripts / "setup").write_text(f'#!/bin/sh\necho "setup $*" | sed "s/ $//" >{tmp_path}/asked\n')
    (scripts / "setup").chmod(0o755)
    (scripts / "lib" / "run_tests.py").write_text("")
    subprocess.run([scripts / "test", *words], check=True)
    log = tmp_path / "asked"
    assert (log.read_text().splitlines() if log.exists() else []) == asked


@pytest.mark.parametrize(("words", "extra"), [
    ([], []), (["--with-piglit"], ["piglit"]),
    (["--with-newer-driver", "--with-piglit"], ["newer-driver", "piglit"])])
def test_options_say_what_is_fetched(monkeypatch, words, extra):
    asked = []
    monkeypatch.setattr(sys, "argv", ["setup", *words])
    monkeypatch.setattr(setup.host_packages, "install_missing_packages", lambda: None)
    monkeypatch.setattr(setup, "fill_cache", lambda images, extra: asked.append((images, extra)))
    assert setup.main() == 0
    assert asked == [([], extra)]
