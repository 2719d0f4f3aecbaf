# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of gfxstream_session_fuzzer, in its form. Needs vk.xml.

    python3 make_gfxstream_session_seeds.py REGISTRY [FOLDER]
"""

import pathlib
import random
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "codegen"))
# pylint: disable=wrong-import-position
from generate import load_model

(START, BUFFER, MAPPED, COLOR, BIND, POOL, PRIMARY, SECONDARY, SUBMIT, FENCE,
 DESCRIPTOR_POOL, SET_LAYOUT, SETS, TEMPLATE, UPDATE, QUERY_POOL, QUERY_RESULTS, IMAGE,
 BIND_IMAGE) = range(19)


class Seed:
    """Steps of a program."""

    def __init__(self, places):
        self.places = places
        self.data = b""

    def step(self, kind, rest=b""):
        self.data += kind + rest
        return self

    def sound(self, *kinds, more=b""):
        """`more`: a byte for the last one, if it takes one."""
        for kind in kinds:
            self.step(b"s", bytes([kind]))
        self.data += more
        return self

    def call(self, name, seed=1, edits=()):
        return self.step(b"c", struct.pack("<HHB", self.places[name], seed, len(edits))
                         + b"".join(edits))

    def record(self, *names, seed=1):
        return self.step(b"r", bytes([len(names)]) + b"".join(
            struct.pack("<HH", self.places[name], seed) for name in names))


def subjects(model):
    """Names of commands by what they are about, so that a seed has what belongs together."""
    groups = {}
    for command in model.commands:
        for word in ("Instance", "PhysicalDevice", "Descriptor", "Image", "Buffer", "Semaphore",
                     "Event", "Fence", "Query", "Pipeline", "RenderPass", "Framebuffer", "Sampler",
                     "PrivateData", "Memory", "Queue", "Shader", "Command"):
            if word in command.name and command.self_type != "VkCommandBuffer":
                groups.setdefault(word, []).append(command.name)
                break
    return groups


def seeds(model):
    places = {command.name: index for index, command in enumerate(model.commands)}
    recorded = [c.name for c in model.commands if c.self_type == "VkCommandBuffer"
                and c.name.startswith("vkCmd")]
    yield "frame", (Seed(places).sound(BUFFER, MAPPED, BIND, POOL, PRIMARY, FENCE)
                    .record("vkCmdFillBuffer").sound(SUBMIT).call("vkWaitForFences", 5)
                    .step(b"m", struct.pack("<BH", MAPPED, 1)).step(b"f", b"\0")
                    .call("vkResetFences", 5).call("vkQueueWaitIdle").call("vkDeviceWaitIdle"))
    yield "two_devices", Seed(places).sound(BUFFER, START, MAPPED, BIND, POOL, SECONDARY, FENCE, SUBMIT)
    yield "destroyed", (Seed(places).sound(BUFFER, COLOR, BIND, POOL, PRIMARY).record("vkCmdFillBuffer")
                        .call("vkFreeMemory").call("vkDestroyBuffer").call("vkDestroyCommandPool")
                        .call("vkDestroyDevice").call("vkDestroyInstance").sound(START, SUBMIT))
    yield "descriptors", (Seed(places).sound(BUFFER, DESCRIPTOR_POOL, SET_LAYOUT, SETS, TEMPLATE)
                          .sound(UPDATE, more=b"\0").sound(UPDATE, more=b"\4").sound(UPDATE, more=b"\1")
                          .call("vkFreeDescriptorSets").call("vkFreeDescriptorSets", 2).sound(SETS)
                          .call("vkResetDescriptorPool").sound(UPDATE, more=b"\0")
                          .call("vkDestroyDescriptorPool"))
    yield "queries", (Seed(places).sound(QUERY_POOL).sound(QUERY_RESULTS, more=b"\0")
                      .sound(QUERY_RESULTS, more=b"\2").sound(QUERY_RESULTS, more=b"\1"))
    yield "shared_image", (Seed(places).sound(IMAGE, more=b"\0").sound(COLOR).sound(BIND_IMAGE, more=b"\3")
                           .call("vkGetImageSubresourceLayout").call("vkGetImageMemoryRequirements2", 5)
                           .call("vkDestroyImage"))
    yield "planes", (Seed(places).sound(IMAGE, more=b"\1").sound(MAPPED).sound(BIND_IMAGE, more=b"\0")
                     .sound(BIND_IMAGE, more=b"\1").sound(BIND_IMAGE, more=b"\1")
                     .sound(BIND_IMAGE, more=b"\3").call("vkFreeMemory").call("vkDestroyImage"))
    for how in range(3):
        seed = Seed(places)
        for kind in (START, BUFFER, MAPPED, COLOR, BIND, POOL, PRIMARY, FENCE, DESCRIPTOR_POOL,
                     SET_LAYOUT, SETS, QUERY_POOL, SUBMIT):
            seed.step(b"x", bytes([0, how])).sound(kind)
        yield f"driver_fails_{how}", seed.step(b"x", bytes([0, how])).record("vkCmdFillBuffer")
    yield "abandoned", Seed(places).sound(BUFFER, POOL, PRIMARY).step(b"a").sound(FENCE).step(b"f", b"\0")
    yield "bytes", Seed(places).step(b"b", struct.pack("<HH", places["vkQueueSubmit"], 9) + bytes(9))
    everything = random.Random(1)
    for word, names in subjects(model).items():
        makers = [name for name in names if "Create" in name or "Allocate" in name]
        others = [name for name in names if name not in makers]
        seed = Seed(places).sound(BUFFER, MAPPED, POOL, PRIMARY)
        for name in makers:
            for number in (1, 2, 5):
                seed.call(name, number)
        for name in others[:60]:
            seed.call(name, everything.randrange(1, 4))
        yield f"about_{word}", seed
    for first in range(0, len(recorded), 15):
        yield f"recorded_{first}", (Seed(places).sound(BUFFER, MAPPED, BIND, POOL, PRIMARY)
                                    .record(*recorded[first:first + 15]).sound(SUBMIT))


def main():
    model = load_model(sys.argv[1])
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "corpus" / "gfxstream_session"
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds(model):
        (folder / name).write_bytes(seed.data)


if __name__ == "__main__":
    main()
