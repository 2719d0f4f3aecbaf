# SPDX-License-Identifier: Apache-2.0
"""Real compositors through the C library."""

import pathlib
import shutil
import tempfile

import pytest

from c_abi_cross_domain import VmmDoor
from wayland_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import

LINK = pathlib.Path(tempfile.mkdtemp(prefix="swede-link-")) / "compositor"


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(LINK.parent)


@pytest.fixture
def door():
    with VmmDoor(LINK) as made:
        yield made
