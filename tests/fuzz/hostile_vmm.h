// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "base/mapping.h"
#include "channel.h"
#include "require.h"
#include "small_limits.h"
#include "unit/base/peer_socket.h"
#include "virtio_gpu/gpu_device.h"

/// What the fuzzers of the doors to a VMM have in common: a VMM with guest RAM of its own, which
/// does the steps of the input.
namespace swede::fuzz {

inline constexpr uint64_t kRamSize = 16 << 20;
inline constexpr uint64_t kHostmem = 1 << 20;
inline constexpr int kMaxSteps = 2000;

class NoSink final : public rutabaga::DisplaySink {
  public:
    void set_scanout(uint32_t, std::shared_ptr<const rutabaga::Frame>) override {}
    void flush(uint32_t, const rutabaga::Rect&) override {}
    void set_cursor(uint32_t, std::shared_ptr<const rutabaga::CursorImage>, int32_t,
                    int32_t) override {}
    void move_cursor(uint32_t, int32_t, int32_t) override {}
};

inline UniqueFd event() {
    return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/// What outlives the inputs; a door's fuzzer adds files of its own.
struct World {
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();
    virtio_gpu::Options options;
    NoSink sink;
    virtio_gpu::DeviceParts parts{.loop = *loop, .options = options, .sink = sink};
    UniqueFd ram = create_memfd("ram", kRamSize).value();
    Mapping memory = Mapping::own_file(ram.get(), 0, kRamSize, Access::kReadWrite).value();
    UniqueFd other{::open("/dev/null", O_RDWR | O_CLOEXEC)};

    World() {
        ::setenv("SWEDE_LOG", "off", 1);
        log::start();
        options.limits = fuzz::limits_with({{BudgetKind::kHostBytes, 4 << 20}});
    }
};

/// The steps that every door's input has, and the connection. One for each input.
class Vmm {
  protected:
    /// The guest starts with empty memory.
    Vmm(World& world, std::span<const std::byte> input) : loop_(*world.loop), input_(input) {
        memory_ = world.memory.data();
        require(::fallocate(world.ram.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                            kRamSize) == 0);
    }

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }
    [[nodiscard]] bool is_over() const { return input_.remaining() == 0; }

    // Kinds of steps, the first byte of each.
    static constexpr uint8_t kPoke = 'p';    ///< u32 offset in RAM, u16 size, bytes
    static constexpr uint8_t kHangUp = 'h';  ///< shuts the sending side

    void common_step(uint8_t kind) {
        if (kind == kPoke) poke();
        if (kind == kHangUp) ::shutdown(main_.fd(), SHUT_WR);
    }
    void poke() {
        const uint64_t offset = take<uint32_t>() % kRamSize;
        auto bytes = take_bytes();
        bytes = bytes.first(std::min<uint64_t>(bytes.size(), kRamSize - offset));
        if (!bytes.empty()) std::memcpy(memory_ + offset, bytes.data(), bytes.size());
    }

    template <typename Header>
    static std::vector<std::byte> message_of(const Header& header,
                                             std::span<const std::byte> payload) {
        const auto head = bytes_of(header);
        std::vector<std::byte> message(head.begin(), head.end());
        message.insert(message.end(), payload.begin(), payload.end());
        return message;
    }
    /// With the same fd up to 15 times.
    void send(std::span<const std::byte> bytes, int fd, uint8_t times) {
        if (bytes.empty()) return;
        const std::vector<int> copies(times & 15, fd);
        static_cast<void>(testing::send_raw(main_.fd(), bytes, copies));
    }
    /// Our end goes to `channel`, the other comes back.
    static UniqueFd connect(Channel& channel) {
        auto [ours, theirs] = testing::socket_pair();
        channel.connect(std::move(ours));
        return std::move(theirs);
    }

    /// All steps, each with a `turn`; then the client goes, and the session must notice.
    template <typename Session, typename Step, typename Turn>
    void play(Session& session, const bool& ended, Step step, Turn turn) {
        for (int i = 0; i < kMaxSteps && !ended && !is_over(); ++i) {
            step();
            turn();
        }
        main_.close();
        for (int i = 0; i < 100 && !ended; ++i) turn();
        require(ended);
        session.reset();
        turn();  // what the device had posted
    }

    EventLoop& loop_;
    Channel main_;

  private:
    ByteReader input_;
    std::byte* memory_ = nullptr;
};

/// The lowest number that a new fd would get: it rises when one is left open.
inline int lowest_free_fd() {
    while (files_to_close() != 0) ::sched_yield();
    const int fd = ::fcntl(0, F_DUPFD, 0);
    ::close(fd);
    return fd;
}

/// One input: Run(world, bytes).run(), which must leave no fd open.
template <typename Run, typename TheWorld>
int run_input(const uint8_t* data, size_t size) {
    static TheWorld world;
    [[maybe_unused]] static const bool warm = [] {
        Run(world, {}).run();  // what is opened once is open from now on
        return true;
    }();
    const int free_fd = lowest_free_fd();
    Run(world, std::as_bytes(std::span(data, size))).run();
    require(lowest_free_fd() == free_fd);
    return 0;
}

}  // namespace swede::fuzz
