// SPDX-License-Identifier: Apache-2.0
// How long gfxstream's decoder takes for commands that are recorded by the thousand. The project
// asks for at most 40 ns a small command.
#include <benchmark/benchmark.h>

#include "guest.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

template <typename T>
void decode(benchmark::State& state, World& world, const T& call, bool in_command_buffer = true) {
    const std::vector<std::byte> bytes = guest::parameters_of(call);
    const CommandLayout& command = kCommandLayouts[find_command_layout(T::kOpcode)];
    const Layout& layout = layout_of(command.arguments);
    alignas(16) std::byte arguments[256];
    Object* const buffer = in_command_buffer ? world.command_buffer : nullptr;
    (void)world.arena.allocate(1, 1);  // its first chunk
    for (auto _ : state) {
        Decoder in = world.decoder(bytes);
        if (!in.arguments(layout, command.self, buffer, arguments)) {
            return state.SkipWithError(in.sentence().c_str());
        }
        benchmark::DoNotOptimize(arguments);
        // As between two commands of a recording.
        world.arena.rewind({});
        if (world.pins.since(0).size() > Pins::kRecent) world.pins.release_to(0);
    }
    world.forget();
}

void Draw(benchmark::State& state) {
    World world;
    decode(state, world, guest::vkCmdDraw{3, 1, 0, 0});
}
BENCHMARK(Draw);

void SetViewport(benchmark::State& state) {
    World world;
    const VkViewport viewport{0, 0, 1, 1, 0, 1};
    decode(state, world, guest::vkCmdSetViewport{0, 1, &viewport});
}
BENCHMARK(SetViewport);

void BindPipeline(benchmark::State& state) {
    World world;
    const auto pipeline = guest::handle_of_id<VkPipeline>(world.id(ObjectType::kPipeline));
    decode(state, world, guest::vkCmdBindPipeline{VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline});
}
BENCHMARK(BindPipeline);

void BindDescriptorSet(benchmark::State& state) {
    World world;
    const auto set = guest::handle_of_id<VkDescriptorSet>(world.id(ObjectType::kDescriptorSet));
    const auto layout =
        guest::handle_of_id<VkPipelineLayout>(world.id(ObjectType::kPipelineLayout));
    decode(state, world,
           guest::vkCmdBindDescriptorSets{VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0,
                                          nullptr});
}
BENCHMARK(BindDescriptorSet);

void PushConstants(benchmark::State& state) {
    World world;
    const float values[16] = {};
    const auto layout =
        guest::handle_of_id<VkPipelineLayout>(world.id(ObjectType::kPipelineLayout));
    decode(
        state, world,
        guest::vkCmdPushConstants{layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(values), values});
}
BENCHMARK(PushConstants);

void ImageBarrier(benchmark::State& state) {
    World world;
    VkImageMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER;
    barrier.image = guest::handle_of_id<VkImage>(world.id(ObjectType::kImage));
    decode(state, world, guest::vkCmdPipelineBarrier{1, 1, 0, 0, nullptr, 0, nullptr, 1, &barrier});
}
BENCHMARK(ImageBarrier);

}  // namespace
}  // namespace swede::gfxstream::vulkan

BENCHMARK_MAIN();
