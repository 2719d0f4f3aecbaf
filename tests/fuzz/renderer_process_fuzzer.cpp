// SPDX-License-Identifier: Apache-2.0
// Both ends of the renderer process's socket, each against a hostile other: the first byte chooses.
// A hostile renderer answers a stub that a device uses; a hostile device drives a server with the
// test renderer. Files of every kind go along. make_renderer_process_seeds.py writes seeds.
// Parsers: src/renderer_process/client.cpp src/renderer_process/client_messages.cpp
// src/renderer_process/server.cpp src/renderer_process/guest_regions.cpp
// src/renderer_process/exported_memory.cpp
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/checked.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "channel.h"
#include "renderer_process/client.h"
#include "renderer_process/messages.h"
#include "renderer_process/server.h"
#include "require.h"
#include "test_renderer.h"
#include "unit/base/peer_socket.h"
#include "virtio/guest_memory.h"

namespace {

using namespace swede;
using namespace swede::renderer_process;
using namespace std::chrono_literals;

using fuzz::require;

constexpr uint64_t kRam = 16 * kPageSize;
constexpr uint32_t kIds = 6;  ///< contexts and resources are few, so that steps meet
constexpr size_t kMaxSteps = 200;
// Small, so that an input meets them.
constexpr size_t kMaxQueued = 1024;
constexpr size_t kMaxCommands = 64;

UniqueFd memory_file(uint64_t size, int seals) {
    UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    require(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
    require(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
    return fd;
}

/// The files that a peer might send. Made once: the kernel's work is not what we look for.
std::span<const UniqueFd> files() {
    static const std::array<UniqueFd, 5> files{
        memory_file(kRam, F_SEAL_SHRINK), memory_file(kRam, 0),
        memory_file(kPageSize, F_SEAL_SHRINK), UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC)),
        UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC))};
    return files;
}
/// What an honest renderer exports: long enough for every blob here, and it cannot shrink.
int honest_file() {
    return files().front().get();
}
int some_file(FuzzedDataProvider& input) {
    return files()[input.ConsumeIntegralInRange<size_t>(0, files().size() - 1)].get();
}

/// The hostile end of a socketpair: bytes as it likes them.
class Peer {
  public:
    explicit Peer(UniqueFd socket) : channel_(std::move(socket)) {}

    void say(std::span<const std::byte> bytes, std::span<const int> fds) {
        if (!channel_ || bytes.empty()) return;
        const ssize_t count = testing::send_raw(channel_.fd(), bytes, fds);
        if (count > 0) said_.insert(said_.end(), bytes.begin(), bytes.begin() + count);
    }
    /// How often each number was said in a header, by what the stream of our bytes comes to.
    [[nodiscard]] std::map<uint64_t, int> numbers() const {
        std::map<uint64_t, int> numbers;
        std::span<const std::byte> rest = said_;
        while (rest.size() >= sizeof(Header)) {
            Header header;
            std::memcpy(&header, rest.data(), sizeof(header));
            ++numbers[header.request];
            rest = rest.subspan(std::min(sizeof(Header) + header.size, rest.size()));
        }
        return numbers;
    }

    template <typename Body>
    void say(uint32_t type, uint64_t number, const Body& body, std::span<const std::byte> tail,
             std::span<const int> fds) {
        std::vector<std::byte> bytes;
        const Header header{type, static_cast<uint32_t>(sizeof(body) + tail.size()), number};
        const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), bytes_of(body),
                                                              tail};
        for (const auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
        say(bytes, fds);
    }

    /// Headers of the messages that came.
    void listen(std::vector<Header>& headers) {
        channel_.read();
        Header header;
        std::vector<std::byte> payload;
        while (channel_.next(header, payload, [](const Header& h) { return h.size; }))
            headers.push_back(header);
    }
    void hang_up() { channel_.close(); }

  private:
    fuzz::Channel channel_;
    std::vector<std::byte> said_;
};

std::vector<std::byte> some_bytes(FuzzedDataProvider& input, size_t most) {
    const auto bytes = input.ConsumeBytes<uint8_t>(input.ConsumeIntegralInRange<size_t>(0, most));
    const auto view = std::as_bytes(std::span(bytes));
    return {view.begin(), view.end()};
}

std::vector<int> some_fds(FuzzedDataProvider& input) {
    std::vector<int> fds;
    while (fds.size() < 2 && input.ConsumeIntegralInRange(0, 3) == 0)
        fds.push_back(some_file(input));
    return fds;
}

// --- a hostile renderer ---

/// Checks what the stub promises its device.
class CheckingSink final : public rutabaga::CompletionSink {
  public:
    explicit CheckingSink(EventLoop& loop) : loop_(loop) {}
    void post(std::move_only_function<void()> task) override { loop_.post(std::move(task)); }
    void fence_done(uint64_t ticket) override { require(out_.erase(ticket) == 1); }
    void context_lost(rutabaga::ContextId context, Error) override {
        require(contexts_.erase(context) == 1);
    }
    std::set<uint64_t> out_;                  ///< fences given and not reported
    std::set<rutabaga::ContextId> contexts_;  ///< asked for and not lost

  private:
    EventLoop& loop_;
};

class HostileRenderer {
  public:
    explicit HostileRenderer(FuzzedDataProvider& input) : input_(input) {
        loop_ = EventLoop::create().value();
        sink_ = std::make_shared<CheckingSink>(*loop_);
        require(memory_.add(0, kRam, memory_file(kRam, 0), 0, Access::kReadWrite).has_value());
    }

    void run() {
        ClientOptions options;
        options.start = [this] { return start(); };
        options.start_deadline = 0ms;  // the greeting is there before it is looked for
        options.start_interval = 1h;
        options.max_queued = kMaxQueued;
        options.max_commands = kMaxCommands;
        auto made = RendererProcess::create(*loop_, memory_, sink_, options);
        if (!made) return;
        renderer_ = std::move(*made);
        for (size_t i = 0; i < kMaxSteps && input_.remaining_bytes() != 0; ++i) {
            step();
            for (int turn = 0; turn < 2; ++turn) loop_->run_once(0ms);
            if (!deaf_)
                for (auto& peer : peers_) peer->listen(heard_);
        }
        renderer_.reset();
        for (int turn = 0; turn < 4; ++turn) loop_->run_once(0ms);
        require(asked_ == answered_);
    }

  private:
    Result<ChildProcess> start() {
        auto [ours, theirs] = testing::socket_pair();
        // The least that the kernel grants, so that a deaf peer is noticed soon.
        const int least = 0;
        require(::setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)) == 0);
        peers_.push_back(std::make_unique<Peer>(std::move(theirs)));
        ChildProcess child;
        child.socket = std::move(ours);
        if (input_.ConsumeIntegralInRange(0, 7) == 0) {
            peers_.back()->say(some_bytes(input_, 128), {});
        } else {
            const Hello hello{kProtocolVersion, 1, 1, 0};
            peers_.back()->say(static_cast<uint32_t>(Report::kHello), 0, hello,
                               bytes_of(CapsetHeader{30, 1, 0, 0}), {});
        }
        return child;
    }

    template <typename T = void>
    rutabaga::Completion<T> completion() {
        ++asked_;
        auto once = std::make_shared<bool>(false);
        return {sink_, [this, once](Result<T>) {
                    require(!std::exchange(*once, true));
                    ++answered_;
                }};
    }
    uint32_t id() { return input_.ConsumeIntegralInRange<uint32_t>(1, kIds); }

    void make_context(uint32_t context) {
        if (!sink_->contexts_.insert(context).second) return;
        ++asked_;
        renderer_->create_context(context, {30, input_.ConsumeRandomLengthString(80)},
                                  {sink_, [this, context, epoch = epoch_](Result<void> result) {
                                       ++answered_;
                                       if (!result && epoch == epoch_)
                                           sink_->contexts_.erase(context);
                                   }});
    }

    void step() {
        if (input_.ConsumeBool())
            speak();
        else
            call();
    }

    void speak() {
        Peer& peer = *peers_.back();
        const auto choice = input_.ConsumeIntegral<uint8_t>();
        const uint64_t number = heard_.empty() ? choice : heard_[choice % heard_.size()].request;
        switch (input_.ConsumeIntegralInRange(0, 7)) {
            case 0:
            case 1: {
                Answer answer;
                answer.failed = input_.ConsumeIntegralInRange<uint32_t>(0, 1);
                answer.code = input_.ConsumeIntegralInRange<uint32_t>(0, 20);
                answer.map_info = input_.ConsumeIntegralInRange<uint32_t>(0, 5);
                answer.offset = input_.ConsumeIntegralInRange<uint64_t>(0, 3) * (kPageSize / 2);
                answer.size = input_.ConsumeBool() ? kPageSize : input_.ConsumeIntegral<uint64_t>();
                return peer.say(static_cast<uint32_t>(Report::kAnswer), number, answer,
                                some_bytes(input_, answer.failed * 8), some_fds(input_));
            }
            case 2:
                return answer_honestly(peer);
            case 3:
                return peer.say(static_cast<uint32_t>(Report::kFencesDone), 0,
                                input_.ConsumeIntegralInRange<uint64_t>(0, next_ticket_ + 1), {},
                                some_fds(input_));
            case 4:
                return peer.say(static_cast<uint32_t>(Report::kContextLost), 0,
                                ContextLost{id(), 0}, some_bytes(input_, 16), {});
            case 5:
                return peer.say(some_bytes(input_, 64), some_fds(input_));
            case 6:
                deaf_ = !deaf_;
                return;
            default:
                return peer.hang_up();
        }
    }

    /// To the last request that wants an answer.
    void answer_honestly(Peer& peer) {
        const auto last = std::find_if(heard_.rbegin(), heard_.rend(),
                                       [](const Header& header) { return header.request != 0; });
        if (last == heard_.rend()) return;
        Answer answer;
        std::vector<int> fds;
        if (last->type == static_cast<uint32_t>(Request::kExportBlob)) {
            answer.size = kRam;
            fds.push_back(honest_file());
        }
        peer.say(static_cast<uint32_t>(Report::kAnswer), last->request, answer, {}, fds);
    }

    void call() {
        const uint32_t context = id();
        const uint32_t resource = id();
        switch (input_.ConsumeIntegralInRange(0, 18)) {
            case 0:
            case 1:
                return make_context(context);
            case 2:
                sink_->contexts_.erase(context);
                return renderer_->destroy_context(context, completion());
            case 3:
                return renderer_->attach_resource(context, resource, {kPageSize, backing()});
            case 4:
                return renderer_->detach_resource(context, resource);
            case 5:
            case 6:
                return renderer_->create_blob(
                    context, resource, {2, 1, 0, input_.ConsumeIntegralInRange<uint64_t>(1, kRam)},
                    input_.ConsumeBool() ? backing() : nullptr, completion<rutabaga::BlobInfo>());
            case 7:
                return renderer_->create_3d(resource, {}, completion());
            case 8:
                return renderer_->attach_backing(resource, backing());
            case 9:
                return renderer_->detach_backing(resource);
            case 10:
                return renderer_->destroy_resource(resource, completion());
            case 11:
            case 12:
                return renderer_->export_blob(resource, completion<rutabaga::SharedMemory>());
            case 13:
                if (input_.ConsumeBool()) return renderer_->displace_blob(resource, completion());
                return renderer_->place_blob(resource, {some_file(input_), 0, kPageSize},
                                             completion());
            case 14: {
                const uint64_t ticket = next_ticket_++;
                sink_->out_.insert(ticket);
                return renderer_->create_fence({ticket, ticket, context, uint8_t{1}});
            }
            case 15:
                static_cast<void>(
                    renderer_->submit(context, {}, some_bytes(input_, 2 * kMaxCommands)));
                return;
            case 16:
                return renderer_->settle_detaches(completion());
            case 17:
                if (input_.ConsumeBool())
                    return renderer_->transfer_to_host(context, resource, {}, completion());
                return renderer_->transfer_from_host(context, resource, {}, completion());
            default:
                if (input_.ConsumeBool()) return move_memory();
                sink_->contexts_.clear();
                sink_->out_.clear();
                ++epoch_;
                return renderer_->reset(completion());
        }
    }

    std::shared_ptr<Backing> backing() {
        const std::vector<wire::MemEntry> entries{
            {input_.ConsumeIntegralInRange<uint64_t>(0, kRam - kPageSize), kPageSize / 2, 0}};
        return memory_.make_backing(entries).value_or(nullptr);
    }

    void move_memory() {
        if (memory_.regions().empty())
            require(memory_.add(0, kRam, memory_file(kRam, 0), 0, Access::kReadWrite).has_value());
        else
            require(memory_.remove(0, kRam).has_value());
    }

    FuzzedDataProvider& input_;
    std::unique_ptr<EventLoop> loop_;
    virtio::GuestMemory memory_;
    std::shared_ptr<CheckingSink> sink_;
    std::vector<std::unique_ptr<Peer>> peers_;
    std::vector<Header> heard_;
    std::unique_ptr<RendererProcess> renderer_;
    uint64_t next_ticket_ = 1;
    size_t asked_ = 0;
    size_t answered_ = 0;
    size_t epoch_ = 0;   ///< of the device: resets
    bool deaf_ = false;  ///< nothing is read from the sockets
};

// --- a hostile device ---

class HostileDevice {
  public:
    explicit HostileDevice(FuzzedDataProvider& input) : input_(input) {}

    void run() {
        auto [ours, theirs] = testing::socket_pair();
        Peer device(std::move(ours));
        const auto loop = EventLoop::create().value();
        bool ended = false;
        auto server = Server::create(
            *loop, std::move(theirs),
            [](std::shared_ptr<rutabaga::CompletionSink> sink) {
                return test::only_test_renderer(std::move(sink), test::TestRenderer::Faults::kNone);
            },
            [&](const Error&) {
                require(!ended);
                ended = true;
            });
        require(server.has_value());
        (*server)->start();
        std::vector<Header> heard;
        for (size_t i = 0; i < kMaxSteps && input_.remaining_bytes() != 0 && !ended; ++i) {
            step(device);
            for (int turn = 0; turn < 3; ++turn) loop->run_once(0ms);
            device.listen(heard);
        }
        // Every answer is one to a request, and comes once. Bytes at random may be requests as
        // well.
        std::map<uint64_t, int> asked = device.numbers();
        std::map<uint64_t, int> answers;
        for (const Header& header : heard)
            if (header.type == static_cast<uint32_t>(Report::kAnswer))
                require(header.request != 0 && ++answers[header.request] <= asked[header.request]);
    }

  private:
    uint32_t id() { return input_.ConsumeIntegralInRange<uint32_t>(0, kIds); }
    uint64_t offset() {
        return input_.ConsumeBool() ? input_.ConsumeIntegralInRange<uint64_t>(0, 4) * kPageSize
                                    : input_.ConsumeIntegral<uint64_t>();
    }
    uint64_t length() { return input_.ConsumeIntegralInRange<uint64_t>(0, kRam); }

    template <typename Body>
    void ask(Peer& device, Request type, const Body& body, std::span<const std::byte> tail = {},
             bool wants_fd = false) {
        // Mostly as the rules want it, so that what lies behind them is reached.
        const bool rude = input_.ConsumeIntegralInRange(0, 31) == 0;
        const uint64_t number = is_answered(type) != rude ? ++last_ : 0;
        const std::array<int, 1> fd{some_file(input_)};
        device.say(static_cast<uint32_t>(type), number, body, tail,
                   wants_fd != rude ? std::span<const int>(fd) : std::span<const int>());
    }
    static bool is_answered(Request type) {
        switch (type) {
            case Request::kAddRegion:
            case Request::kAddBacking:
            case Request::kDropBacking:
            case Request::kAttachResource:
            case Request::kDetachResource:
            case Request::kAttachBacking:
            case Request::kDetachBacking:
            case Request::kSubmit:
            case Request::kCreateFence:
                return false;
            default:
                return true;
        }
    }

    void step(Peer& device) {
        switch (input_.ConsumeIntegralInRange(0, 23)) {
            case 0:
                return device.say(some_bytes(input_, 128), some_fds(input_));
            case 1:
                return ask(device, Request::kAddRegion,
                           AddRegion{id(), 0, length(), offset(),
                                     input_.ConsumeIntegralInRange<uint32_t>(0, 1), 0},
                           {}, true);
            case 2:
                return ask(device, Request::kRemoveRegion, RemoveRegion{id()});
            case 3: {
                std::vector<Segment> segments;
                while (segments.size() < 4 && input_.ConsumeBool())
                    segments.push_back(
                        {id(), input_.ConsumeIntegralInRange<uint64_t>(0, kRam), length()});
                const uint64_t count = input_.ConsumeIntegralInRange(0, 15) == 0
                                           ? input_.ConsumeIntegral<uint64_t>()
                                           : segments.size();
                return ask(device, Request::kAddBacking, AddBacking{id(), count},
                           std::as_bytes(std::span(segments)));
            }
            case 4:
                return ask(device, Request::kDropBacking, DropBacking{id()});
            case 5:
                return ask(device, Request::kCreateContext,
                           CreateContext{id(),
                                         SWEDE_TEST_CAPSET_ID * uint32_t{input_.ConsumeBool()},
                                         input_.ConsumeIntegral<uint32_t>(),
                                         {}});
            case 6:
                return ask(device, Request::kDestroyContext, ContextOnly{id(), 0});
            case 7:
                return ask(device, Request::kAttachResource,
                           AttachResource{id(), id(), length(), id()});
            case 8:
                return ask(device, Request::kDetachResource, DetachResource{id(), id()});
            case 9:
            case 10:
                return ask(device, Request::kCreateBlob,
                           CreateBlob{id(), id(), input_.ConsumeIntegralInRange<uint32_t>(0, 4), 1,
                                      0, length(), id() / 4});
            case 11: {
                wire::ResourceCreate3d create{};
                create.resource_id = id();
                create.width = input_.ConsumeIntegral<uint16_t>();
                create.height = input_.ConsumeIntegralInRange<uint32_t>(0, 3);
                return ask(device, Request::kCreate3d, create);
            }
            case 12:
                return ask(device, Request::kAttachBacking, AttachBacking{id(), 0, id()});
            case 13:
                return ask(device, Request::kDetachBacking, ResourceOnly{id(), 0});
            case 14:
                return ask(device, Request::kDestroyResource, ResourceOnly{id(), 0});
            case 15:
                return ask(device, Request::kExportBlob, ResourceOnly{id(), 0});
            case 16:
                return ask(device, Request::kPlaceBlob,
                           PlaceBlob{id(), 0, offset(), page_align(length()).value()}, {}, true);
            case 17:
                return ask(device, Request::kDisplaceBlob, ResourceOnly{id(), 0});
            case 18:
            case 19: {
                Transfer transfer{id(), id(), {}};
                transfer.transfer.box.x = input_.ConsumeIntegralInRange<uint32_t>(0, 512);
                transfer.transfer.box.width = input_.ConsumeIntegral<uint32_t>();
                transfer.transfer.offset = offset();
                return ask(
                    device,
                    input_.ConsumeBool() ? Request::kTransferToHost : Request::kTransferFromHost,
                    transfer);
            }
            case 20:
                return ask(device, Request::kSubmit,
                           Submit{id(), input_.ConsumeIntegralInRange<int32_t>(-2, 300)},
                           commands());
            case 21:
                return ask(device, Request::kCreateFence,
                           CreateFence{input_.ConsumeIntegral<uint64_t>(), 1, id(),
                                       input_.ConsumeIntegralInRange<int32_t>(-2, 300)});
            case 22:
                return input_.ConsumeIntegralInRange(0, 7) == 0 ? device.hang_up()
                                                                : ask_bare(device, Request::kPing);
            default:
                return ask_bare(device, Request::kReset);
        }
    }

    void ask_bare(Peer& device, Request type) {
        device.say(bytes_of(Header{static_cast<uint32_t>(type), 0, ++last_}), {});
    }

    std::vector<std::byte> commands() {
        constexpr std::array<uint32_t, 8> kOperations{
            SWEDE_TEST_ECHO, SWEDE_TEST_ADD,          SWEDE_TEST_FILL,   SWEDE_TEST_STALL_RING,
            SWEDE_TEST_FAIL, SWEDE_TEST_LOSE_CONTEXT, SWEDE_TEST_REFUSE, SWEDE_TEST_NEVER_ANSWER};
        const auto data = some_bytes(input_, 32);
        const swede_test_command command{
            input_.PickValueInArray(kOperations),
            static_cast<uint32_t>(sizeof(swede_test_command) + data.size()),
            id(),
            1,
            input_.ConsumeIntegralInRange<uint64_t>(0, kRam),
            input_.ConsumeIntegral<uint16_t>()};
        std::vector<std::byte> bytes;
        for (const std::byte byte : bytes_of(command)) bytes.push_back(byte);
        bytes.insert(bytes.end(), data.begin(), data.end());
        return bytes;
    }

    FuzzedDataProvider& input_;
    uint64_t last_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    FuzzedDataProvider input(data, size);
    if (input.ConsumeBool())
        HostileRenderer(input).run();
    else
        HostileDevice(input).run();
    return 0;
}
