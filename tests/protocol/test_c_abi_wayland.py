# SPDX-License-Identifier: Apache-2.0
"""The C library on a real compositor: the tests of test_cross_domain_sway.py with the library in the place
of the device."""

import pytest

from c_abi_cross_domain import VmmDoor
from test_cross_domain_sway import *  # pylint: disable=wildcard-import,unused-wildcard-import
from test_cross_domain_sway import LINK


@pytest.fixture
def door(sway):  # pylint: disable=redefined-outer-name,unused-argument,function-redefined
    with VmmDoor(LINK) as made:
        yield made
