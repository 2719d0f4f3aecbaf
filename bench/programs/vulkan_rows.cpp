// SPDX-License-Identifier: Apache-2.0
// What Vulkan commands cost a program, row by row, each a line of JSON:
// vulkan_rows [--milliseconds N] [--only WORD]
// The work of the device is next to nothing, so that the way to it is what is measured; but for the
// rows that move bytes. It needs a loader and a driver with Vulkan 1.3, and nothing else.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>

#include "checked_compute.h"
#include "mix_comp.h"
#include "rows_target.h"
#include "vk_lab.h"

using namespace swede::lab;

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kDraws = 500;  // of a command buffer

double processor_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Rows {
  public:
    Rows(const Gpu& gpu, const Options& options)
        : gpu_(gpu),
          seconds_(static_cast<double>(options.number("milliseconds", 300)) / 1000),
          only_(options.text("only")),
          pool_(gpu.device(),
                VkCommandPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                        .queueFamilyIndex = gpu.family()}),
          commands_(gpu.allocate(pool_)),
          fence_(gpu.device(), VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO}),
          target_(gpu) {}

    void all() {
        submits();
        draws();
        descriptors();
        uploads();
        mapping();
        pipelines();
        bandwidth();
    }

  private:
    // Calls `batch`, which does `operations`, until the time is over; the first call is not
    // counted.
    void row(const std::string& name, uint64_t operations, const std::function<void()>& batch,
             uint64_t bytes = 0) {
        if (name.find(only_) == std::string::npos) return;
        batch();
        const double processor = processor_seconds();
        const Clock::time_point start = Clock::now();
        uint64_t batches = 0;
        double elapsed = 0;
        do {
            batch();
            ++batches;
            elapsed = std::chrono::duration<double>(Clock::now() - start).count();
        } while (elapsed < seconds_);
        const auto count = static_cast<double>(batches * operations);
        std::vector<Field> fields{
            {"row", name},
            {"operations", static_cast<int64_t>(batches * operations)},
            {"ns", 1e9 * elapsed / count},
            {"processor_ns", 1e9 * (processor_seconds() - processor) / count}};
        if (bytes != 0)
            fields.emplace_back("bytes_per_second", static_cast<double>(bytes) *
                                                        static_cast<double>(batches) / elapsed);
        say(fields);
    }

    void submit_and_wait(VkCommandBuffer commands) {
        submit(gpu_, commands, fence_);
        wait(gpu_, fence_);
        check(vkResetFences(gpu_.device(), 1, fence_.pointer()));
    }

    void submits() {
        constexpr uint64_t kSubmits = 100;
        const VkSubmitInfo nothing{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO};
        row("submit empty", kSubmits, [&] {
            for (uint64_t i = 0; i < kSubmits; ++i)
                check(vkQueueSubmit(gpu_.queue(), 1, &nothing, VK_NULL_HANDLE));
            check(vkQueueWaitIdle(gpu_.queue()));
        });
        row("fence round trip", 1, [&] {
            check(vkQueueSubmit(gpu_.queue(), 1, &nothing, fence_));
            wait(gpu_, fence_);
            check(vkResetFences(gpu_.device(), 1, fence_.pointer()));
        });
        row("fence status", kSubmits, [&] {
            for (uint64_t i = 0; i < kSubmits; ++i) check(vkGetFenceStatus(gpu_.device(), fence_));
        });
    }

    // Records draws with `change` before each, submits and waits.
    void draw_row(const std::string& name, const std::function<void(uint32_t)>& change) {
        row("draw " + name, kDraws, [&] {
            begin(commands_, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
            target_.begin(commands_);
            for (uint32_t i = 0; i < kDraws; ++i) {
                change(i);
                vkCmdDraw(commands_, 3, 1, 0, 0);
            }
            vkCmdEndRenderPass(commands_);
            check(vkEndCommandBuffer(commands_));
            submit_and_wait(commands_);
        });
    }

    void draws() {
        const auto changes = target_.changes(commands_);
        draw_row("only", [](uint32_t) {});
        for (const auto& [name, change] : changes) draw_row(name, change);
        draw_row("all changes", [&](uint32_t i) {
            for (const auto& [name, change] : changes) change(i);
        });
        if (gpu_.features().multiDrawIndirect == 0) return;
        row("draw multi (indirect)", kDraws, [&] {
            begin(commands_, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
            target_.begin(commands_);
            vkCmdDrawIndirect(commands_, target_.indirect(kDraws), 0, kDraws,
                              sizeof(VkDrawIndirectCommand));
            vkCmdEndRenderPass(commands_);
            check(vkEndCommandBuffer(commands_));
            submit_and_wait(commands_);
        });
    }

    void descriptors() {
        const Buffer buffer(gpu_, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        const std::array<const Buffer*, 2> buffers{&buffer, &buffer};
        const StorageSet set(gpu_, buffers, 0);
        const VkDescriptorBufferInfo info{buffer.handle, 0, VK_WHOLE_SIZE};
        const VkWriteDescriptorSet write{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                         .dstSet = set.set,
                                         .descriptorCount = 1,
                                         .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                         .pBufferInfo = &info};
        constexpr uint64_t kUpdates = 500;
        row("descriptor update", kUpdates, [&] {
            for (uint64_t i = 0; i < kUpdates; ++i)
                vkUpdateDescriptorSets(gpu_.device(), 1, &write, 0, nullptr);
            check(vkGetFenceStatus(gpu_.device(), fence_));  // its answer comes behind them
        });
        const VkDescriptorUpdateTemplateEntry entry{
            0, 0, 2, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 0, sizeof(info)};
        const UpdateTemplate update(
            gpu_.device(), VkDescriptorUpdateTemplateCreateInfo{
                               .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO,
                               .descriptorUpdateEntryCount = 1,
                               .pDescriptorUpdateEntries = &entry,
                               .templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET,
                               .descriptorSetLayout = set.set_layout});
        const std::array<VkDescriptorBufferInfo, 2> infos{info, info};
        row("descriptor update by template", kUpdates, [&] {
            for (uint64_t i = 0; i < kUpdates; ++i)
                vkUpdateDescriptorSetWithTemplate(gpu_.device(), set.set, update, infos.data());
            check(vkGetFenceStatus(gpu_.device(), fence_));
        });
    }

    // Many small writes to mapped memory, each copied by the device: as streaming programs do.
    void uploads() {
        constexpr uint32_t kSlots = 16;
        constexpr VkDeviceSize kBytes = 1024;
        const Buffer staging(gpu_, kSlots * kBytes, kAnyTransfer);
        const Buffer local(gpu_, kSlots * kBytes, kAnyTransfer,
                           VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
        std::array<VkCommandBuffer, kSlots> copies{};
        std::vector<Fence> fences;
        for (uint32_t slot = 0; slot < kSlots; ++slot) {
            copies[slot] = gpu_.allocate(pool_);
            begin(copies[slot]);
            const VkBufferCopy region{slot * kBytes, slot * kBytes, kBytes};
            vkCmdCopyBuffer(copies[slot], staging.handle, local.handle, 1, &region);
            check(vkEndCommandBuffer(copies[slot]));
            fences.emplace_back(gpu_.device(),
                                VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                                                  .flags = VK_FENCE_CREATE_SIGNALED_BIT});
        }
        row("upload of 1 KiB", kSlots, [&] {
            for (uint32_t slot = 0; slot < kSlots; ++slot) {
                wait(gpu_, fences[slot]);
                check(vkResetFences(gpu_.device(), 1, fences[slot].pointer()));
                std::memset(staging.data + slot * kBytes, static_cast<int>(slot), kBytes);
                submit(gpu_, copies[slot], fences[slot]);
            }
        });
        check(vkQueueWaitIdle(gpu_.queue()));
    }

    void mapping() {
        const uint32_t type = gpu_.need_memory_type(UINT32_MAX, kHostMemory);
        const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                        .allocationSize = 1 << 20,
                                        .memoryTypeIndex = type};
        const Memory memory(gpu_.device(), info);
        void* place = nullptr;
        row("map and unmap", 1, [&] {
            check(vkMapMemory(gpu_.device(), memory, 0, VK_WHOLE_SIZE, 0, &place));
            vkUnmapMemory(gpu_.device(), memory);
        });
        row("allocate, map and free", 1, [&] {
            const Memory fresh(gpu_.device(), info);
            check(vkMapMemory(gpu_.device(), fresh, 0, VK_WHOLE_SIZE, 0, &place));
        });
    }

    void pipelines() {
        const Buffer buffer(gpu_, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        const std::array<const Buffer*, 2> buffers{&buffer, &buffer};
        const StorageSet set(gpu_, buffers, sizeof(MixPush));
        row("pipeline compute", 1, [&] { compute_pipeline(gpu_, mix_comp, set.layout); });
        row("pipeline graphics", 1, [&] { target_.make_pipeline(VK_COMPARE_OP_ALWAYS); });
    }

    // Through each type of memory that the host sees: by the processor, and by the device.
    void bandwidth() {
        constexpr VkDeviceSize kBytes = 32 << 20;
        const std::vector<std::byte> ours(kBytes, std::byte{0x5a});
        std::vector<std::byte> back(kBytes);
        const Buffer local(gpu_, kBytes, kAnyTransfer, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
        std::vector<VkMemoryPropertyFlags> seen;
        for (uint32_t type = 0; type < gpu_.memory().memoryTypeCount; ++type) {
            const VkMemoryPropertyFlags flags = gpu_.memory().memoryTypes[type].propertyFlags;
            if ((flags & kHostMemory) != kHostMemory) continue;
            if (std::ranges::find(seen, flags) != seen.end()) continue;
            seen.push_back(flags);
            // What follows names memory by its flags: numbers of types differ between drivers.
            const std::string name =
                std::string("bytes ") +
                ((flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0 ? "device " : "host ") +
                ((flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0 ? "cached " : "uncached ");
            const Buffer buffer(gpu_, kBytes, kAnyTransfer, flags);
            row(
                name + "written", 1, [&] { std::memcpy(buffer.data, ours.data(), kBytes); },
                kBytes);
            row(name + "read", 1, [&] { std::memcpy(back.data(), buffer.data, kBytes); }, kBytes);
            const auto copy = [&](VkBuffer from, VkBuffer to) {
                begin(commands_, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
                const VkBufferCopy region{0, 0, kBytes};
                vkCmdCopyBuffer(commands_, from, to, 1, &region);
                check(vkEndCommandBuffer(commands_));
                submit_and_wait(commands_);
            };
            row(name + "to the device", 1, [&] { copy(buffer.handle, local.handle); }, kBytes);
            row(name + "from the device", 1, [&] { copy(local.handle, buffer.handle); }, kBytes);
        }
    }

    const Gpu& gpu_;
    double seconds_;
    std::string only_;
    CommandPool pool_;
    VkCommandBuffer commands_;
    Fence fence_;
    RowsTarget target_;
};

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    Wishes wishes;
    wishes.features.multiDrawIndirect = VK_TRUE;
    wishes.features.depthBounds = VK_TRUE;
    const Gpu gpu(wishes);
    expect(gpu.properties().apiVersion >= VK_API_VERSION_1_3, "the device lacks Vulkan 1.3");
    say({{"device", std::string(static_cast<const char*>(gpu.properties().deviceName))},
         {"driver_version", gpu.properties().driverVersion}});
    Rows rows(gpu, options);
    rows.all();
}
