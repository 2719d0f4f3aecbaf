// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "base/checked.h"
#include "base/event_loop.h"
#include "renderer_process/child_process.h"
#include "renderer_process/client.h"
#include "test_renderer.h"
#include "virtio/guest_memory.h"

namespace swede::test {

using namespace std::chrono_literals;

/// Far more than anything here takes: a test that waits this long has failed.
inline constexpr auto kPatience = 30s;

/// Posts to the loop, and keeps what renderers report.
class RecordingSink final : public rutabaga::CompletionSink {
  public:
    explicit RecordingSink(EventLoop& loop) : loop_(loop) {}
    void post(std::move_only_function<void()> task) override { loop_.post(std::move(task)); }
    void fence_done(uint64_t ticket) override {
        loop_.post([this, ticket] { fences.push_back(ticket); });
    }
    void context_lost(rutabaga::ContextId context, Error why) override {
        loop_.post([this, context, why = std::move(why)] { lost[context] = why; });
    }

    std::vector<uint64_t> fences;  ///< tickets, as they were reported
    std::map<rutabaga::ContextId, Error> lost;

  private:
    EventLoop& loop_;
};

/// Commands of one submission.
class Commands {
  public:
    Commands& add(swede_test_operation operation, uint32_t resource = 0, uint32_t value = 0,
                  uint64_t offset = 0, uint64_t argument = 0,
                  std::span<const std::byte> data = {}) {
        const swede_test_command command{
            operation, static_cast<uint32_t>(sizeof(swede_test_command) + data.size()),
            resource,  value,
            offset,    argument};
        const auto header = bytes_of(command);
        bytes_.insert(bytes_.end(), header.begin(), header.end());
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        return *this;
    }
    operator std::span<const std::byte>() const { return bytes_; }  // NOLINT: meant to convert

  private:
    std::vector<std::byte> bytes_;
};

/// What the process holds: nothing of it may grow.
struct Census {
    size_t files;
    size_t threads;
    bool children;
    friend bool operator==(const Census&, const Census&) = default;
};

inline std::ostream& operator<<(std::ostream& out, const Census& census) {
    return out << census.files << " files, " << census.threads << " threads"
               << (census.children ? ", children" : "");
}

inline size_t entries_of(const char* folder) {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
    return count;
}

inline Census census() {
    siginfo_t info{};
    // ECHILD: neither a running child nor a zombie.
    const bool children = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    return {entries_of("/proc/self/fd"), entries_of("/proc/self/task"), children};
}

/// A loop, guest memory and a sink, as a device would have them.
class RendererTest : public ::testing::Test {
  protected:
    RendererTest()
        : loop_(EventLoop::create().value()), sink_(std::make_shared<RecordingSink>(*loop_)) {}

    ~RendererTest() override {
        renderer_.reset();
        turn();  // completions that died with it
    }

    /// No process that is well is ended, however busy the machine that runs the tests.
    static renderer_process::ClientOptions patient() {
        renderer_process::ClientOptions options;
        options.request_deadline = kPatience;
        options.reset_deadline = kPatience;
        options.start_deadline = kPatience;
        options.exit_limit = kPatience;
        options.start_burst = 1000;
        return options;
    }

    /// The renderer in a process of its own.
    void start_process(renderer_process::ClientOptions options = patient()) {
        if (!options.start)
            options.start = [] { return renderer_process::spawn("/proc/self/exe", {"renderer"}); };
        auto made =
            renderer_process::RendererProcess::create(*loop_, memory_, sink_, std::move(options));
        if (!made) throw std::runtime_error(made.error().message);  // ends the test
        process_ = made->get();
        renderer_ = std::move(*made);
    }

    void start_in_process() {
        renderer_ = std::make_unique<TestRenderer>(sink_, TestRenderer::Faults::kNone);
    }

    void turn() {
        for (int i = 0; i < 3; ++i) loop_->run_once(0ms);
    }

    [[nodiscard]] bool wait_until(const std::function<bool()>& condition) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            loop_->run_once(10ms);
        }
        return true;
    }

    template <typename T>
    using Slot = std::shared_ptr<std::optional<Result<T>>>;

    /// A completion, and where its answer will be.
    template <typename T = void>
    std::pair<rutabaga::Completion<T>, Slot<T>> slot() {
        auto place = std::make_shared<std::optional<Result<T>>>();
        return {rutabaga::Completion<T>(
                    sink_, [place](Result<T> result) { place->emplace(std::move(result)); }),
                place};
    }

    /// Waits for the answer of a call that takes a completion.
    template <typename T = void, typename Call>
    Result<T> await(Call call) {
        auto [done, place] = slot<T>();
        call(std::move(done));
        if (!wait_until([&, &answer = *place] { return answer.has_value(); }))
            return fail(ErrorCode::kUnspecified, "Nothing answered.");
        return std::move(**place);
    }

    Result<void> create_context(rutabaga::ContextId context,
                                uint32_t capset = SWEDE_TEST_CAPSET_ID) {
        return await([&](auto done) {
            renderer_->create_context(context, {capset, "test"}, std::move(done));
        });
    }
    Result<void> destroy_context(rutabaga::ContextId context) {
        return await([&](auto done) { renderer_->destroy_context(context, std::move(done)); });
    }
    /// A host blob, attached to the context.
    Result<void> create_blob(rutabaga::ContextId context, rutabaga::ResourceId resource,
                             uint64_t size) {
        const auto made = await<rutabaga::BlobInfo>([&](auto done) {
            renderer_->create_blob(context, resource,
                                   {wire::kBlobMemHost3d, wire::kBlobFlagUseMappable, 0, size},
                                   nullptr, std::move(done));
        });
        if (!made) return std::unexpected(made.error());
        renderer_->attach_resource(context, resource, {size, nullptr});
        return {};
    }
    Result<void> destroy_resource(rutabaga::ResourceId resource) {
        return await([&](auto done) { renderer_->destroy_resource(resource, std::move(done)); });
    }
    Result<void> settle_detaches() {
        return await([&](auto done) { renderer_->settle_detaches(std::move(done)); });
    }
    Result<rutabaga::SharedMemory> export_blob(rutabaga::ResourceId resource) {
        return await<rutabaga::SharedMemory>(
            [&](auto done) { renderer_->export_blob(resource, std::move(done)); });
    }
    Result<void> place(rutabaga::ResourceId resource, int fd, uint64_t offset, uint64_t size) {
        return await([&](auto done) {
            renderer_->place_blob(resource, {fd, offset, size}, std::move(done));
        });
    }
    Result<void> displace(rutabaga::ResourceId resource) {
        return await([&](auto done) { renderer_->displace_blob(resource, std::move(done)); });
    }
    Result<void> reset() {
        return await([&](auto done) { renderer_->reset(std::move(done)); });
    }
    /// A new fence; its ticket.
    uint64_t fence(rutabaga::ContextId context, std::optional<uint8_t> ring) {
        const uint64_t ticket = next_ticket_++;
        renderer_->create_fence({ticket, ticket, context, ring});
        return ticket;
    }
    [[nodiscard]] bool is_done(uint64_t ticket) const {
        return std::ranges::find(sink_->fences, ticket) != sink_->fences.end();
    }
    /// Everything submitted to the ring has run.
    [[nodiscard]] bool finish(rutabaga::ContextId context, std::optional<uint8_t> ring = 0) {
        const uint64_t ticket = fence(context, ring);
        return wait_until([&] { return is_done(ticket); });
    }
    Result<void> submit(rutabaga::ContextId context, const Commands& commands,
                        std::optional<uint8_t> ring = 0) {
        return renderer_->submit(context, ring, commands);
    }

    /// Adds guest RAM of a memory file of ours, and maps it here too.
    Mapping add_guest_memory(uint64_t address, uint64_t size, UniqueFd* file = nullptr) {
        UniqueFd fd = create_memfd("guest", size).value();
        Mapping mapping = Mapping::own_file(fd.get(), 0, size, Access::kReadWrite).value();
        if (file != nullptr) *file = fd.duplicate();
        EXPECT_TRUE(memory_.add(address, size, std::move(fd), 0, Access::kReadWrite));
        return mapping;
    }

    std::unique_ptr<EventLoop> loop_;
    virtio::GuestMemory memory_;
    std::shared_ptr<RecordingSink> sink_;
    std::unique_ptr<rutabaga::Renderer> renderer_;
    renderer_process::RendererProcess* process_ = nullptr;  ///< renderer_, when it is one
    uint64_t next_ticket_ = 1;
};

inline uint32_t word_at(const Mapping& mapping, uint64_t offset) {
    uint32_t word = 0;
    std::memcpy(&word, mapping.data() + offset, sizeof(word));
    return word;
}

}  // namespace swede::test
