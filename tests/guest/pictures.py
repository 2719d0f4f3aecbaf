# SPDX-License-Identifier: Apache-2.0
"""What the guest's drawing programs draw, computed a second time: expected pictures."""

import numpy
from PIL import Image


def pattern(seed, width, height, left=0, top=0):
    """pattern() of programs/pattern.h as an RGB array, for the rectangle at (left, top)."""
    x = numpy.arange(left, left + width, dtype=numpy.uint64)[None, :]
    y = numpy.arange(top, top + height, dtype=numpy.uint64)[:, None]
    word = numpy.uint64(0xffffffff)
    value = ((x * 2654435761) & word) ^ ((y * 2246822519) & word) ^ numpy.uint64(
        (seed * 3266489917) & 0xffffffff)
    value ^= value >> numpy.uint64(15)
    return _rgb((value * numpy.uint64(668265263)) & word)


def vk_share(edge, seed=1):
    """pattern() of tests/vulkan/programs/vk_share.cpp, as a compositor shows the words."""
    pixel = numpy.arange(edge * edge, dtype=numpy.uint64).reshape(edge, edge)
    return _rgb(pixel * 2654435761 ^ numpy.uint64(seed * 0x9e3779b9))


def tiles(width, height):
    """libdrm's 'tiles' (tests/util/pattern.c) for XRGB8888, which modetest -F tiles draws."""
    x = numpy.arange(width, dtype=numpy.uint64)[None, :]
    y = numpy.arange(height, dtype=numpy.uint64)[:, None]
    quotient, remainder = divmod(x + y, width)
    return _rgb(0x00130502 * (quotient >> numpy.uint64(6)) + 0x000a1120 * (remainder >> numpy.uint64(6)))


def cursor():
    """The cursor of swede_kms: arrays of 64x64, premultiplied RGB and alpha."""
    y = numpy.arange(64, dtype=numpy.uint64)[:, None] + numpy.zeros((1, 64), dtype=numpy.uint64)
    x = numpy.arange(64, dtype=numpy.uint64)[None, :] + numpy.zeros((64, 1), dtype=numpy.uint64)
    value = numpy.where(y < 21, 0xff0000ff + (x << numpy.uint64(16)),
                        numpy.where(y < 42, 0x80400000 + x, 0))
    return _rgb(value), (value >> numpy.uint64(24)).astype(numpy.uint8)


def blend(picture, image, alpha, left, top):
    """`image` over `picture` at (left, top), clipped, rounded to the nearest."""
    result = picture.astype(numpy.int32)
    height, width = picture.shape[:2]
    for row in range(64):
        for column in range(64):
            x, y = left + column, top + row
            if 0 <= x < width and 0 <= y < height:
                rest = 255 - int(alpha[row, column])
                below = (result[y, x] * rest + 127) // 255
                result[y, x] = numpy.minimum(image[row, column].astype(numpy.int32) + below, 255)
    return result.astype(numpy.uint8)


def load(path):
    return numpy.asarray(Image.open(path).convert("RGB"))


def difference(found, expected, tolerance=0):
    """None when equal, else a sentence that names the first pixel that differs."""
    if found.shape != expected.shape:
        return f"the picture is {found.shape[1]}x{found.shape[0]}, expected {expected.shape[1]}x{expected.shape[0]}"
    wrong = numpy.abs(found.astype(int) - expected.astype(int)).max(axis=2) > tolerance
    count = int(wrong.sum())
    if count == 0:
        return None
    y, x = map(int, numpy.argwhere(wrong)[0])
    return (f"{count} pixels differ, first at ({x}, {y}): {tuple(map(int, found[y, x]))}, "
            f"expected {tuple(map(int, expected[y, x]))}")


def _rgb(value):
    value = value.astype(numpy.uint64)
    return numpy.stack([(value >> numpy.uint64(shift)) & numpy.uint64(255) for shift in (16, 8, 0)],
                       axis=2).astype(numpy.uint8)
