// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"
#include "unit/gfxstream/guest.h"
#include "unit/gfxstream/guest_recording.h"

namespace swede::gfxstream::vulkan {

/// The machine's software Vulkan driver, opened once.
[[nodiscard]] Host& software_host();

/// What came back for a command, read in order.
class Answer {
  public:
    explicit Answer(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}

    template <typename T>
    T plain() {
        T value{};
        EXPECT_LE(at_ + sizeof(T), bytes_.size()) << "The reply ends.";
        if (at_ + sizeof(T) > bytes_.size()) return value;
        std::memcpy(&value, bytes_.data() + at_, sizeof(T));
        at_ += sizeof(T);
        return value;
    }
    template <typename T>
    T handle() {
        return guest::handle_of_id<T>(plain<uint64_t>());
    }
    bool marker() { return plain<uint64_t>() != 0; }
    VkResult result() {
        const auto value = plain<VkResult>();
        EXPECT_EQ(at_, bytes_.size()) << "The reply goes on.";
        return value;
    }
    [[nodiscard]] size_t size() const { return bytes_.size(); }

  private:
    std::vector<std::byte> bytes_;
    size_t at_ = 0;
};

/// Services of a context without anything around it.
class TestServices final : public SessionServices {
  public:
    std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) override {
        const auto found = color_buffers.find(resource);
        return found != color_buffers.end() ? found->second : nullptr;
    }
    const std::shared_ptr<Budget>& budget() override { return budget_; }

    std::map<uint32_t, std::shared_ptr<ColorBuffer>> color_buffers;

  private:
    std::shared_ptr<Budget> budget_ = Budget::create();
};

/// A guest's program with one thread: it calls Vulkan through a Session as through a ring. What is
/// made lives as long as the guest lets it.
class Program {
  public:
    explicit Program(Host& host = software_host())
        : session(Session::create(host, services).value()), ring(std::make_unique<RingState>()) {}

    template <typename T>
    Result<Answer> try_call(const T& command) {
        return try_call(T::kOpcode, guest::parameters_of(command));
    }
    Result<Answer> try_call(uint32_t opcode, std::span<const std::byte> parameters) {
        SWEDE_TRY(session->execute(opcode, parameters, *ring));
        return Answer(ring->reply.bytes());
    }
    /// A command that must not lose the context.
    template <typename T>
    Answer call(const T& command) {
        Result<Answer> answer = try_call(command);
        EXPECT_TRUE(answer) << answer.error().message;
        return answer ? *std::move(answer) : Answer({});
    }
    /// A command that must lose it, and does nothing.
    template <typename T>
    std::string failure_of(const T& command) {
        const Result<Answer> answer = try_call(command);
        EXPECT_FALSE(answer) << "The command was accepted.";
        return answer ? "" : answer.error().message;
    }
    /// For vkCreateX and its like: one handle and a result. Null when it failed.
    template <typename Handle, typename T>
    Handle create(const T& command, VkResult expected = VK_SUCCESS) {
        Answer answer = call(command);
        const auto handle = answer.handle<Handle>();
        EXPECT_EQ(answer.result(), expected);
        EXPECT_EQ(handle != VK_NULL_HANDLE, expected == VK_SUCCESS);
        return handle;
    }
    template <typename T>
    VkResult result_of(const T& command) {
        return call(command).result();
    }

    /// An instance, its device and a queue of family 0.
    void start();

    VkBuffer make_buffer(VkDeviceSize size, VkBufferUsageFlags usage);
    /// Memory of `type` with what `next` asks for.
    VkDeviceMemory make_memory(VkDeviceSize size, uint32_t type, const void* next = nullptr);
    /// Memory of `type` that the guest can map, under `blob_id`.
    VkDeviceMemory make_mapped_memory(VkDeviceSize size, uint64_t blob_id, uint32_t type);
    void bind(VkBuffer buffer, VkDeviceMemory memory);
    /// The bytes of mapped memory. Once for each.
    [[nodiscard]] std::shared_ptr<HostMemory> map(VkDeviceMemory memory, uint64_t blob_id,
                                                  uint64_t size);
    VkFence make_fence(VkFenceCreateFlags flags = 0);
    VkCommandPool make_pool();
    VkCommandBuffer make_command_buffer(
        VkCommandPool pool, VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY);
    /// The first type that the guest maps.
    [[nodiscard]] static uint32_t mapped_type();

    Result<Answer> flush(VkCommandBuffer command_buffer, std::span<const std::byte> recording);
    Answer submit(VkCommandBuffer command_buffer, VkFence fence);
    /// Records `recording` (without begin and end) and runs it to its end.
    VkResult run(std::span<const std::byte> recording);
    VkResult wait(VkFence fence, uint64_t timeout = 10'000'000'000);

    [[nodiscard]] uint32_t count(ObjectType type) {
        return session->table().census()[static_cast<size_t>(type)];
    }

    TestServices services;
    std::shared_ptr<Session> session;
    std::unique_ptr<RingState> ring;  ///< goes before the session
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
};

}  // namespace swede::gfxstream::vulkan
