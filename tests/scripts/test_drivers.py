# SPDX-License-Identifier: Apache-2.0
"""How the Vulkan drivers of the cache are named to the loader."""

import json

import pytest

import parts
from report import Failure


@pytest.fixture(name="tree")
def _tree(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree = tmp_path / "work" / "tree"
    (tree / parts.LIBRARIES).mkdir(parents=True)
    icds = tree / "usr/share/vulkan/icd.d"
    icds.mkdir(parents=True)
    for name, suffix in (("gfxstream_vk", ""), ("lvp", ".x86_64")):
        (tree / parts.LIBRARIES / f"libvulkan_{name}.so").touch()
        (icds / f"{name}_icd{suffix}.json").write_text(json.dumps(
            {"ICD": {"api_version": "1.1.305", "library_path": f"/usr/lib/libvulkan_{name}.so"},
             "file_format_version": "1.0.0"}))
    return tree


def test_libraries_have_the_paths_of_the_cache(tree):
    parts._name_drivers(tree)  # pylint: disable=protected-access
    for name in parts.DRIVERS:
        description = json.loads((tree.parent / f"{name}.icd.json").read_text())
        library = parts.drivers_part().path / "tree" / parts.LIBRARIES
        assert description["ICD"]["library_path"].startswith(f"{library}/libvulkan_")
        assert parts.paths()[f"driver-{name}"].name == f"{name}.icd.json"


def test_driver_without_its_library_is_told(tree):
    (tree / parts.LIBRARIES / "libvulkan_lvp.so").unlink()
    with pytest.raises(Failure, match="libvulkan_lvp.so, which is not in"):
        parts._name_drivers(tree)  # pylint: disable=protected-access


def test_driver_without_its_description_is_told(tree):
    (tree / "usr/share/vulkan/icd.d/gfxstream_vk_icd.json").unlink()
    with pytest.raises(Failure, match="gfxstream_vk is expected"):
        parts._name_drivers(tree)  # pylint: disable=protected-access


def test_driver_with_two_descriptions_is_told(tree):
    (tree / "usr/share/vulkan/icd.d/lvp_icd.i686.json").touch()
    with pytest.raises(Failure, match="lvp is expected"):
        parts._name_drivers(tree)  # pylint: disable=protected-access
