// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "transports/c_abi/instance.h"
#include "unit/rutabaga/fake_renderer.h"

namespace swede::c_abi::testing {

inline constexpr uint32_t kCapset = 60;
inline constexpr uint64_t kCapsetMask = uint64_t{1} << kCapset;

/// What an instance says, from whichever thread.
class Heard {
  public:
    [[nodiscard]] Callbacks callbacks() {
        return {reinterpret_cast<uint64_t>(this),
                [](uint64_t self, const rutabaga_fence* fence) {
                    reinterpret_cast<Heard*>(self)->add(*fence);
                },
                [](uint64_t self, const rutabaga_debug* debug) {
                    reinterpret_cast<Heard*>(self)->add(*debug);
                }};
    }
    [[nodiscard]] std::vector<uint64_t> fence_ids() {
        std::vector<uint64_t> ids;
        const std::scoped_lock lock(mutex_);
        for (const rutabaga_fence& fence : fences_) ids.push_back(fence.fence_id);
        return ids;
    }
    [[nodiscard]] std::vector<rutabaga_fence> fences() {
        const std::scoped_lock lock(mutex_);
        return fences_;
    }
    [[nodiscard]] std::vector<std::string> messages() {
        const std::scoped_lock lock(mutex_);
        return messages_;
    }
    [[nodiscard]] bool heard(std::string_view part) {
        const std::scoped_lock lock(mutex_);
        return std::ranges::any_of(messages_, [&](const std::string& message) {
            return message.find(part) != std::string::npos;
        });
    }
    void wait_for_fences(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return fences_.size() >= count; });
    }
    void wait_for_messages(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return messages_.size() >= count; });
    }

    /// Runs in each fence callback, without a lock.
    std::function<void(const rutabaga_fence&)> on_fence;
    std::function<void()> on_message;

  private:
    void add(const rutabaga_fence& fence) {
        {
            const std::scoped_lock lock(mutex_);
            fences_.push_back(fence);
            changed_.notify_all();
        }
        if (on_fence) on_fence(fence);
    }
    void add(const rutabaga_debug& debug) {
        {
            const std::scoped_lock lock(mutex_);
            messages_.emplace_back(debug.message);
            changed_.notify_all();
        }
        if (on_message) on_message();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<rutabaga_fence> fences_;
    std::vector<std::string> messages_;
};

/// An instance for 2D, or with a renderer that answers as told.
class InstanceFixture : public ::testing::Test {
  protected:
    using FakeRenderer = rutabaga::testing::FakeRenderer;

    ~InstanceFixture() override {
        if (instance) instance->finish();
    }

    void make_2d(const Budget::Limits& limits = Budget::default_limits()) {
        Options options;
        options.callbacks = heard.callbacks();
        options.limits = limits;
        auto made = Instance::create(std::move(options));
        ASSERT_TRUE(made) << made.error().message;
        instance = *std::move(made);
    }
    void make_with_renderer(const Budget::Limits& limits = Budget::default_limits(),
                            bool owns_3d = false) {
        Options options;
        options.callbacks = heard.callbacks();
        options.capset_mask = kCapsetMask;
        options.limits = limits;
        options.answer_limit = answer_limit;
        options.clock = [this] { return now; };
        auto made = Instance::create(std::move(options), [&](const RendererRequest& request) {
            request_of_factory = request;
            auto owned = std::make_unique<FakeRenderer>(std::vector<uint32_t>{kCapset}, owns_3d);
            renderer = owned.get();
            MadeRenderers renderers;
            renderers.renderers.push_back(std::move(owned));
            return renderers;
        });
        ASSERT_TRUE(made) << made.error().message;
        instance = *std::move(made);
    }

    /// A call of one function; 0 or a negative errno.
    template <typename Function>
    int32_t call(Function function) {
        return instance->call("a test", [&](Instance& inside) -> Result<void> {
            if constexpr (std::is_void_v<decltype(function(inside))>) {
                function(inside);
                return {};
            } else {
                return function(inside);
            }
        });
    }
    int32_t create_context(uint32_t id, uint32_t init = kCapset) {
        return call([&](Instance& i) { return i.create_context(id, init, "a test"); });
    }
    int32_t destroy_context(uint32_t id) {
        return call([&](Instance& i) { return i.destroy_context(id); });
    }
    int32_t create_2d(uint32_t id, uint32_t width, uint32_t height) {
        return call(
            [&](Instance& i) { return i.create_3d(id, {2, 1, 2, width, height, 1, 1, 0, 0, 1}); });
    }
    int32_t create_blob(uint32_t context, uint32_t id, const rutabaga_create_blob& request,
                        std::span<const iovec> memory = {}) {
        return call([&](Instance& i) { return i.create_blob(context, id, request, memory, {}); });
    }
    int32_t attach(uint32_t id, std::span<const iovec> memory) {
        return call([&](Instance& i) { return i.attach_backing(id, memory); });
    }
    int32_t write(uint32_t id, const rutabaga_transfer& transfer) {
        return call([&](Instance& i) { return i.transfer_write(0, id, transfer); });
    }
    int32_t read(uint32_t id, const rutabaga_transfer& transfer, const iovec* to) {
        return call([&](Instance& i) { return i.transfer_read(0, id, transfer, to); });
    }
    int32_t unref(uint32_t id) {
        return call([&](Instance& i) { return i.unref(id); });
    }
    int32_t fence(uint64_t id, uint32_t context, std::optional<uint32_t> ring) {
        const uint32_t flags = RUTABAGA_FLAG_FENCE | (ring ? RUTABAGA_FLAG_INFO_RING_IDX : 0);
        return call(
            [&](Instance& i) { return i.create_fence({flags, id, context, ring.value_or(0)}); });
    }
    /// The ticket of the newest fence that the renderer was given.
    [[nodiscard]] uint64_t last_ticket() const { return renderer->fences.back().ticket; }

    Heard heard;
    std::chrono::milliseconds answer_limit{600'000};
    std::chrono::steady_clock::time_point now;  ///< with a renderer
    std::shared_ptr<Instance> instance;
    FakeRenderer* renderer = nullptr;  ///< of the instance
    RendererRequest request_of_factory;
};

/// Memory of this test as a list of one.
struct Memory {
    explicit Memory(size_t size, uint8_t value = 0) : bytes(size, value) {
        list = {bytes.data(), bytes.size()};
    }
    [[nodiscard]] std::span<const iovec> span() const { return {&list, 1}; }
    /// The 4-byte pixel at (x, y) of rows of `width`.
    [[nodiscard]] uint32_t pixel(uint32_t x, uint32_t y, uint32_t width) const {
        uint32_t value;
        std::memcpy(&value, bytes.data() + (size_t{y} * width + x) * 4, 4);
        return value;
    }
    /// Each pixel tells where it is.
    void number(uint32_t width) {
        for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
            const auto index = static_cast<uint32_t>(i / 4);
            const uint32_t value = number_of(index % width, index / width);
            std::memcpy(bytes.data() + i, &value, 4);
        }
    }
    [[nodiscard]] static uint32_t number_of(uint32_t x, uint32_t y) {
        return y << 16 | x | 1u << 31;
    }

    std::vector<uint8_t> bytes;
    iovec list{};
};

}  // namespace swede::c_abi::testing
