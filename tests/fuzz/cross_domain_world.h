// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file_closer.h"
#include "base/mapping.h"
#include "channel.h"
#include "cross_domain/renderer.h"
#include "require.h"
#include "small_limits.h"
#include "unit/base/peer_socket.h"
#include "unit/cross_domain/whole_files.h"
#include "unit/rutabaga/guest_pages.h"

namespace swede::fuzz {

using namespace wire::cross_domain;

/// Checks what a renderer promises its device: each fence once. Any thread.
class CrossDomainSink final : public rutabaga::CompletionSink {
  public:
    void post(std::move_only_function<void()> task) override {
        const std::scoped_lock lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    void fence_done(uint64_t ticket) override {
        const std::scoped_lock lock(mutex_);
        require(out_.erase(ticket) == 1 || late_.erase(ticket) == 1);
    }
    void context_lost(rutabaga::ContextId, Error) override { require(false); }

    void add(uint64_t ticket) {
        const std::scoped_lock lock(mutex_);
        out_.insert(ticket);
    }
    [[nodiscard]] bool is_out(uint64_t ticket) {
        const std::scoped_lock lock(mutex_);
        return out_.contains(ticket);
    }
    /// Their context is gone; one that is being reported may still come.
    void forget() {
        const std::scoped_lock lock(mutex_);
        late_.merge(out_);
        out_.clear();
    }
    void run() {
        for (;;) {
            std::vector<std::move_only_function<void()>> tasks;
            {
                const std::scoped_lock lock(mutex_);
                tasks.swap(tasks_);
            }
            if (tasks.empty()) return;
            for (auto& task : tasks) task();
        }
    }

  private:
    std::mutex mutex_;
    std::vector<std::move_only_function<void()>> tasks_;
    std::set<uint64_t> out_;
    std::set<uint64_t> late_;
};

/// Where "the compositor" listens. One for the process; its connections are one input's.
class CompositorSocket {
  public:
    CompositorSocket() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "swede-fuzz-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path().c_str(), sizeof(address.sun_path) - 1);
        fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        require(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
        require(::listen(fd_.get(), 64) == 0);
    }
    ~CompositorSocket() { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string path() const { return directory_ + "/wayland-0"; }
    /// Empty when nobody has connected.
    [[nodiscard]] UniqueFd accept() const {
        return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
    void refuse_all() const {
        while (accept()) continue;
    }

  private:
    std::string directory_;
    UniqueFd fd_;
};

/// A renderer with small limits, one guest context with rings, and what passes over them.
class CrossDomainWorld {
  public:
    static constexpr uint32_t kContext = 1;
    static constexpr uint32_t kQueryRing = 10;
    static constexpr uint32_t kRing = 11;

    /// How guest and compositor come to share memory.
    enum class Memory : uint8_t { kFiles, kDmaBufs, kInWindow, kMaxValue = kInWindow };

    explicit CrossDomainWorld(Memory memory = Memory::kFiles) {
        socket().refuse_all();
        cross_domain::Options options{{{ChannelType::kWayland, socket().path()}}};
        const auto udmabuf = std::make_shared<cross_domain::testing::WholeFiles>();
        if (memory != Memory::kFiles)
            options.images = std::make_shared<cross_domain::UdmabufImages>(udmabuf);
        if (memory == Memory::kInWindow) options.window = udmabuf;
        renderer_ =
            cross_domain::CrossDomainRenderer::create(std::move(options), sink_, budget_).value();
        create_context();
    }
    ~CrossDomainWorld() {
        query_->revoke();
        ring_->revoke();
        renderer_.reset();
        sink_->run();
        blobs_.clear();
        while (files_to_close() != 0) std::this_thread::yield();
        for (size_t kind = 0; kind < Budget::kKinds; ++kind)
            require(budget_->used(static_cast<BudgetKind>(kind)) == 0);
    }

    void create_context() {
        renderer_->create_context(kContext, {kCapsetId, ""}, ignore<>());
        renderer_->attach_resource(kContext, kQueryRing, {kPageSize, query_});
        renderer_->attach_resource(kContext, kRing, {kPageSize, ring_});
    }
    /// Its fences are the device's from then on.
    void destroy_context() {
        renderer_->destroy_context(kContext, ignore<>());
        sink_->forget();
    }
    [[nodiscard]] bool submit(std::span<const std::byte> commands) {
        return renderer_->submit(kContext, std::nullopt, commands).has_value();
    }
    [[nodiscard]] bool init() {
        const InitTwoRings init{{1, 0, sizeof(InitTwoRings), 0}, kQueryRing, kRing, 1};
        return submit(bytes_of(init));
    }
    /// A POLL and its fence.
    uint64_t poll() {
        const std::array<uint64_t, 2> command{0x100003, 0};
        require(submit(std::as_bytes(std::span(command))));
        return fence(kChannelRing);
    }
    void set_paused(bool paused) { renderer_->set_paused(paused); }
    uint64_t fence(uint8_t ring) {
        const uint64_t ticket = next_ticket_++;
        sink_->add(ticket);
        renderer_->create_fence({ticket, ticket, kContext, ring});
        return ticket;
    }
    /// What the ring's bytes say to a guest that believes them.
    void read_ring(std::span<std::byte> to) const { require(ring_->read(0, to).has_value()); }
    void create_blob(uint32_t resource, uint64_t blob_id, uint64_t size) {
        if (blobs_.contains(resource)) return;
        auto bytes = budget_->charge(BudgetKind::kHostBytes, size);  // as a device does
        if (!bytes) return;
        const bool made = answer<rutabaga::BlobInfo>([&](auto done) {
            renderer_->create_blob(kContext, resource, {wire::kBlobMemHost3d, 3, blob_id, size},
                                   nullptr, std::move(done));
        });
        if (!made) return;
        blobs_.emplace(resource, *std::move(bytes));
        renderer_->attach_resource(kContext, resource, {size, nullptr});
    }
    void destroy_blob(uint32_t resource) {
        displace_blob(resource);
        renderer_->detach_resource(kContext, resource);
        renderer_->destroy_resource(resource, ignore<>());
        blobs_.erase(resource);
    }
    /// Where each resource has its place in the window.
    void place_blob(uint32_t resource, uint64_t size) {
        if (placed_.contains(resource)) return;
        const bool placed = answer<>([&](auto done) {
            renderer_->place_blob(
                resource, {window().get(), (resource % kPlaces) * kPlace, std::min(size, kPlace)},
                std::move(done));
        });
        if (placed) placed_.insert(resource);
    }
    /// What a VMM is given to map must be there.
    void map_blob(uint32_t resource) {
        if (!blobs_.contains(resource)) return;
        std::optional<rutabaga::SharedMemory> memory;
        renderer_->export_blob(resource, {sink_, [&](Result<rutabaga::SharedMemory> shared) {
                                              if (shared) memory = *std::move(shared);
                                          }});
        sink_->run();
        if (!memory) return;
        const auto mapping =
            Mapping::own_file(memory->fd.get(), memory->offset, memory->size, memory->access);
        require(mapping.has_value());
        volatile std::byte last = mapping->bytes().back();
        static_cast<void>(last);
    }
    void displace_blob(uint32_t resource) {
        if (placed_.erase(resource) == 0) return;
        require(answer<>([&](auto done) { renderer_->displace_blob(resource, std::move(done)); }));
    }
    /// The reactor has come to what was ready before.
    void settle() {
        constexpr uint32_t kNone = 99;  // no context, so that nothing else is done
        for (int turn = 0; turn < 2; ++turn)
            answer<>([&](auto done) { renderer_->destroy_context(kNone, std::move(done)); });
    }
    [[nodiscard]] cross_domain::CrossDomainRenderer& renderer() { return *renderer_; }
    [[nodiscard]] CrossDomainSink& sink() { return *sink_; }
    [[nodiscard]] static const CompositorSocket& socket() {
        static const CompositorSocket socket;
        return socket;
    }

  private:
    static constexpr uint64_t kPlaces = 8;
    static constexpr uint64_t kPlace = 8 * kPageSize;

    [[nodiscard]] static const UniqueFd& window() {
        static const UniqueFd window = create_memfd("fuzz-window", kPlaces * kPlace).value();
        return window;
    }
    template <typename T = void>
    [[nodiscard]] rutabaga::Completion<T> ignore() {
        return {sink_, [](Result<T>) {}};
    }
    /// As the device does, which lets a resource's calls wait for one another. True: it went well.
    template <typename T = void, typename Call>
    bool answer(Call call) {
        std::optional<bool> answered;
        call(rutabaga::Completion<T>(sink_,
                                     [&](Result<T> result) { answered = result.has_value(); }));
        for (sink_->run(); !answered; sink_->run()) std::this_thread::yield();
        return *answered;
    }

    // Small, so that an input meets them.
    std::shared_ptr<Budget> budget_ =
        Budget::create(limits_with({{BudgetKind::kHostBytes, 1 << 20}, {BudgetKind::kFiles, 40}}));
    std::shared_ptr<CrossDomainSink> sink_ = std::make_shared<CrossDomainSink>();
    std::unique_ptr<cross_domain::CrossDomainRenderer> renderer_;
    rutabaga::testing::GuestPages query_pages_{kPageSize};
    rutabaga::testing::GuestPages ring_pages_{kPageSize};
    std::shared_ptr<Backing> query_ = query_pages_.backing();
    std::shared_ptr<Backing> ring_ = ring_pages_.backing();
    uint64_t next_ticket_ = 1;
    std::map<uint32_t, Budget::Charge> blobs_;  ///< with their bytes
    std::set<uint32_t> placed_;
};

/// Files of every kind that a compositor might send. Made once: the kernel's work is not what we
/// look for.
inline std::span<const UniqueFd> sendable_files() {
    const auto memory = [](int seals, off_t size = 5000) {
        UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        require(::ftruncate(fd.get(), size) == 0);
        require(seals == 0 || ::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
        return fd;
    };
    static const std::array<int, 2> pipe = [] {
        std::array<int, 2> ends{};
        require(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
        return ends;
    }();
    static const std::array<UniqueFd, 9> files{memory(F_SEAL_SHRINK),
                                               memory(0),
                                               memory(F_SEAL_SHRINK | F_SEAL_WRITE),
                                               UniqueFd(pipe[0]),
                                               UniqueFd(pipe[1]),
                                               UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
                                               UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)),
                                               UniqueFd(::open("/", O_PATH | O_CLOEXEC)),
                                               memory(F_SEAL_SHRINK, 2 * kPageSize)};
    return files;
}

}  // namespace swede::fuzz
