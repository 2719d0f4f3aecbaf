// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_closer.h"
#include "cross_domain/renderer.h"
#include "cross_domain/stream_socket.h"
#include "unit/rutabaga/guest_pages.h"
#include "unit/rutabaga/recording_sink.h"

namespace swede::cross_domain::testing {

using namespace wire::cross_domain;
using rutabaga::testing::GuestPages;
using rutabaga::testing::RecordingSink;

using Bytes = std::vector<std::byte>;

inline Bytes bytes_from(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

inline std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// By resizing, not by insert(): GCC 12 takes that for an overflow.
inline void append_bytes(Bytes& to, std::span<const std::byte> bytes) {
    const size_t at = to.size();
    to.resize(at + bytes.size());
    if (!bytes.empty()) std::memcpy(to.data() + at, bytes.data(), bytes.size());
}
template <typename T>
void append(Bytes& to, const T& value) {
    append_bytes(to, std::as_bytes(std::span(&value, 1)));
}

/// A compositor's socket, in a directory of its own.
class Listener {
  public:
    Listener() {
        std::string pattern = (std::filesystem::temp_directory_path() / "swede-xd-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
        start();
    }
    ~Listener() { std::filesystem::remove_all(directory_); }

    void start() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path().c_str(), sizeof(address.sun_path) - 1);
        fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
            ::listen(fd_.get(), 16) != 0)
            std::abort();
    }
    void stop() {
        fd_.reset();
        std::filesystem::remove(path());
    }
    [[nodiscard]] std::string directory() const { return directory_; }
    [[nodiscard]] std::string path() const { return directory_ + "/wayland-0"; }
    /// The next connection, blocking.
    [[nodiscard]] UniqueFd accept() const {
        return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }

  private:
    std::string directory_;
    UniqueFd fd_;
};

/// A memory file with these seals.
inline UniqueFd memory_file(std::string_view contents, int seals) {
    UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (::pwrite(fd.get(), contents.data(), contents.size(), 0) !=
            static_cast<ssize_t>(contents.size()) ||
        (seals != 0 && ::fcntl(fd.get(), F_ADD_SEALS, seals) != 0))
        std::abort();
    return fd;
}

/// One message of the host in the channel ring.
struct RingMessage {
    SendReceive head{};
    std::vector<std::array<uint32_t, 3>> identifiers;  ///< id, type, size
    Bytes bytes;
    ReadWrite read{};  ///< of a READ
};

/// A renderer, and guests' ends of its contexts: commands as the guest programs send them, answers
/// as they read them.
struct CrossDomainTest : ::testing::Test {
    static constexpr uint32_t kQueryRing = 10;
    static constexpr uint32_t kRing = 11;

    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
    std::shared_ptr<Budget> budget = Budget::create();
    Listener listener;
    std::unique_ptr<CrossDomainRenderer> renderer;
    GuestPages query_pages{4096};
    GuestPages ring_pages{4096, 1024};
    std::shared_ptr<Backing> query = query_pages.backing();
    std::shared_ptr<Backing> ring = ring_pages.backing();
    UniqueFd compositor;
    uint64_t next_ticket = 1;
    uint32_t max_identifiers = kManyIdentifiers;

    CrossDomainTest() { start({{{ChannelType::kWayland, listener.path()}}}); }
    ~CrossDomainTest() override {
        renderer.reset();
        EXPECT_TRUE(all_closed());
        for (size_t kind = 0; kind < Budget::kKinds; ++kind)
            EXPECT_EQ(budget->used(static_cast<BudgetKind>(kind)), 0u)
                << name_of(static_cast<BudgetKind>(kind));
    }
    void start(Options options) {
        renderer = *CrossDomainRenderer::create(std::move(options), sink, budget);
    }

    /// Once nothing of peers is left to be closed.
    [[nodiscard]] bool all_closed() {
        return sink->run_until([] { return files_to_close() == 0; });
    }

    /// Calls that answer through a Completion.
    template <typename T = void, typename Call>
    [[nodiscard]] Result<T> wait_for(Call call) {
        std::optional<Result<T>> answer;
        call(rutabaga::Completion<T>(sink, [&](Result<T> result) { answer = std::move(result); }));
        EXPECT_TRUE(sink->run_until([&] { return answer.has_value(); }));
        return *std::move(answer);
    }

    void create_context(uint32_t id = 1) {
        EXPECT_TRUE(
            wait_for([&](auto done) { renderer->create_context(id, {5, ""}, std::move(done)); }));
        renderer->attach_resource(id, kQueryRing, {4096, query});
        renderer->attach_resource(id, kRing, {4096, ring});
    }
    void destroy_context(uint32_t id = 1) {
        EXPECT_TRUE(wait_for([&](auto done) { renderer->destroy_context(id, std::move(done)); }));
    }
    [[nodiscard]] Result<void> submit(const Bytes& commands, uint32_t context = 1) {
        return renderer->submit(context, std::nullopt, commands);
    }
    [[nodiscard]] static Bytes command(Command command, size_t size,
                                       std::initializer_list<uint32_t> words) {
        Bytes bytes(std::max(size, sizeof(Header) + words.size() * sizeof(uint32_t)));
        const Header header{static_cast<uint8_t>(command), 0, static_cast<uint16_t>(size), 0};
        std::memcpy(bytes.data(), &header, sizeof(header));
        size_t at = sizeof(header);
        for (const uint32_t word : words) {
            std::memcpy(bytes.data() + at, &word, sizeof(word));
            at += sizeof(word);
        }
        bytes.resize(size);
        return bytes;
    }
    [[nodiscard]] static Bytes init(uint32_t type = 1, uint32_t query = kQueryRing,
                                    uint32_t ring = kRing) {
        return command(Command::kInit, 20, {query, ring, type});
    }
    /// A context with a connection, accepted.
    void connect() {
        create_context();
        ASSERT_TRUE(submit(init()));
        compositor = listener.accept();
    }

    struct Identifier {
        uint32_t id;
        IdentifierType type;
        uint32_t size = 0;
    };
    [[nodiscard]] Bytes send(std::string_view text,
                             const std::vector<Identifier>& identifiers = {}) const {
        Bytes bytes;
        append(
            bytes,
            SendReceive{
                {4, 0, static_cast<uint16_t>(send_receive_size(max_identifiers) + text.size()), 0},
                static_cast<uint32_t>(identifiers.size()),
                static_cast<uint32_t>(text.size())});
        for (int array = 0; array < 3; ++array)
            for (size_t i = 0; i < max_identifiers; ++i) {
                uint32_t word = 0;
                if (i < identifiers.size())
                    word = array == 0   ? identifiers[i].id
                           : array == 1 ? static_cast<uint32_t>(identifiers[i].type)
                                        : identifiers[i].size;
                append(bytes, word);
            }
        append_bytes(bytes, std::as_bytes(std::span(text)));
        return bytes;
    }
    [[nodiscard]] static Bytes write(uint32_t id, std::string_view text, bool hang_up = false) {
        Bytes bytes;
        append(bytes, ReadWrite{{7, 0, static_cast<uint16_t>(sizeof(ReadWrite) + text.size()), 0},
                                id,
                                hang_up ? 1u : 0u,
                                static_cast<uint32_t>(text.size()),
                                0});
        append_bytes(bytes, std::as_bytes(std::span(text)));
        return bytes;
    }

    /// POLL and its fence.
    uint64_t poll(uint32_t context = 1) {
        EXPECT_TRUE(submit(command(Command::kPoll, 16, {}), context));
        renderer->create_fence({next_ticket, next_ticket, context, uint8_t{kChannelRing}});
        return next_ticket++;
    }
    [[nodiscard]] bool is_done(uint64_t ticket) {
        const auto fences = sink->fences();
        return std::ranges::count(fences, ticket) == 1;
    }
    [[nodiscard]] bool wait_fence(uint64_t ticket) {
        return sink->run_until([&] { return is_done(ticket); });
    }
    [[nodiscard]] RingMessage read_ring(GuestPages& pages) const {
        RingMessage message;
        Bytes raw(4096);
        for (size_t i = 0; i < raw.size(); ++i) raw[i] = pages[i];
        std::memcpy(&message.head, raw.data(), sizeof(message.head));
        if (message.head.header.command == 6) {
            std::memcpy(&message.read, raw.data(), sizeof(message.read));
            message.bytes.assign(raw.begin() + sizeof(ReadWrite),
                                 raw.begin() + sizeof(ReadWrite) + message.read.opaque_size);
            return message;
        }
        for (size_t i = 0; i < message.head.num_identifiers; ++i) {
            std::array<uint32_t, 3> entry{};
            for (size_t array = 0; array < 3; ++array)
                std::memcpy(&entry[array],
                            raw.data() + sizeof(SendReceive) + (array * max_identifiers + i) * 4,
                            4);
            message.identifiers.push_back(entry);
        }
        const auto start = raw.begin() + send_receive_size(max_identifiers);
        message.bytes.assign(start, start + message.head.opaque_size);
        return message;
    }
    /// What the next fence brings.
    [[nodiscard]] RingMessage next_message() {
        EXPECT_TRUE(wait_fence(poll()));
        return read_ring(ring_pages);
    }
    [[nodiscard]] static bool is_end(const RingMessage& message) {
        return message.head.header.command == 5 && message.head.num_identifiers == 0 &&
               message.head.opaque_size == 0;
    }

    /// The compositor's side.
    void say(std::string_view text, const std::vector<int>& fds = {}) const {
        const auto sent = send_all(compositor.get(), bytes_from(text), fds);
        ASSERT_EQ(sent, text.size());
    }
    /// More fds than send_some() takes go too.
    static size_t send_all(int socket, const Bytes& bytes, const std::vector<int>& fds) {
        iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
        if (!fds.empty()) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* const header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
        }
        const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
        return sent < 0 ? 0 : static_cast<size_t>(sent);
    }
    /// Waits for `size` bytes, and takes the fds that come with them.
    [[nodiscard]] std::string hear(size_t size, std::vector<UniqueFd>* fds = nullptr) const {
        std::string text;
        std::vector<UniqueFd> mine;
        while (text.size() < size) {
            pollfd poll{compositor.get(), POLLIN, 0};
            if (::poll(&poll, 1, 60'000) != 1) break;
            Bytes bytes(size - text.size());
            const auto received = receive_some(compositor.get(), bytes, fds ? *fds : mine);
            if (!received || (*received && **received == 0)) break;
            if (*received) text += text_of(std::span(bytes).first(**received));
        }
        return text;
    }
    /// True once the other end has closed and all is read.
    [[nodiscard]] bool is_closed_for_compositor() const {
        for (;;) {
            pollfd poll{compositor.get(), POLLIN, 0};
            if (::poll(&poll, 1, 60'000) != 1) return false;
            char buffer[65536];
            if (::recv(compositor.get(), buffer, sizeof(buffer), 0) <= 0) return true;
        }
    }

    [[nodiscard]] Result<rutabaga::BlobInfo> create_blob(uint32_t resource, uint64_t blob_id,
                                                         uint64_t size) {
        auto answer = wait_for<rutabaga::BlobInfo>([&](auto done) {
            renderer->create_blob(1, resource, {wire::kBlobMemHost3d, 3, blob_id, size}, nullptr,
                                  std::move(done));
        });
        if (answer) renderer->attach_resource(1, resource, {size, nullptr});
        return answer;
    }
    void destroy_blob(uint32_t resource) {
        renderer->detach_resource(1, resource);
        EXPECT_TRUE(
            wait_for([&](auto done) { renderer->destroy_resource(resource, std::move(done)); }));
    }
    /// The blob's memory as a VMM would map it.
    [[nodiscard]] Mapping map(uint32_t resource) {
        auto memory = wait_for<rutabaga::SharedMemory>(
            [&](auto done) { renderer->export_blob(resource, std::move(done)); });
        EXPECT_TRUE(memory);
        return *Mapping::peer_file(memory->fd.get(), memory->offset, memory->size, memory->access);
    }
    [[nodiscard]] ImageRequirements image(uint32_t width, uint32_t height,
                                          const char (&format)[5]) {
        uint32_t code;
        std::memcpy(&code, format, 4);
        const auto asked =
            submit(command(Command::kGetImageRequirements, 24, {width, height, code, 0x11}));
        EXPECT_TRUE(asked) << asked.error().message;
        ImageRequirements requirements;
        EXPECT_TRUE(query->read(0, std::as_writable_bytes(std::span(&requirements, 1))));
        return requirements;
    }
};

}  // namespace swede::cross_domain::testing
