// SPDX-License-Identifier: Apache-2.0
#include "base/unix_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/bytes.h"
#include "base/event_fd.h"
#include "base/mapping.h"
#include "closed_files.h"
#include "peer_socket.h"
#include "process_state.h"

namespace swede {
namespace {

struct Header {
    uint32_t payload;  ///< bytes
    uint32_t type;     ///< 0xbad: refused by payload_size()
};

Result<uint64_t> payload_size(std::span<const std::byte> bytes) {
    const Header header = SWEDE_TRY(ByteReader(bytes).read<Header>());
    if (header.type == 0xbad)
        return fail(ErrorCode::kProtocol, "Type {:#x} is unknown.", header.type);
    return header.payload;
}

constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header), .max_payload = 1 << 20, .max_fds = 4, .max_unsent = 256 << 10};

/// Which file an fd is of.
ino_t identity(int fd) {
    struct stat status{};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return status.st_ino;
}

class MessageSocketTest : public ::testing::Test {
  protected:
    MessageSocketTest() { connect(); }

    void connect() {
        auto [far, near] = testing::socket_pair();
        peer = std::move(far);
        socket = std::make_unique<MessageSocket>(std::move(near), kLimits, payload_size);
    }

    /// As a peer that keeps to nothing: these bytes, with these fds.
    void peer_sends(std::span<const std::byte> bytes, std::span<const int> fds = {}) {
        ASSERT_EQ(testing::send_raw(peer.get(), bytes, fds), static_cast<ssize_t>(bytes.size()));
    }

    static std::vector<std::byte> message_of(uint32_t type, size_t payload) {
        const Header header{static_cast<uint32_t>(payload), type};
        std::vector<std::byte> bytes(sizeof(header) + payload);
        std::memcpy(bytes.data(), &header, sizeof(header));
        for (size_t i = 0; i < payload; ++i)
            bytes[sizeof(header) + i] = static_cast<std::byte>(type + i * 7);
        return bytes;
    }

    UniqueFd peer;
    std::unique_ptr<MessageSocket> socket;
    Message message;
};

TEST_F(MessageSocketTest, Message_ArrivesWhole) {
    EXPECT_FALSE(socket->receive(message).value());
    const auto first = message_of(1, 100);
    const auto second = message_of(2, 0);
    peer_sends(first);
    peer_sends(second);
    ASSERT_TRUE(socket->receive(message).value());
    EXPECT_EQ(message.bytes, first);
    ASSERT_TRUE(socket->receive(message).value());
    EXPECT_EQ(message.bytes, second);
    EXPECT_FALSE(socket->receive(message).value());
}

TEST_F(MessageSocketTest, MessageInDrops_ArrivesWhole) {
    const auto bytes = message_of(3, 40);
    for (size_t i = 0; i < bytes.size(); ++i) {
        peer_sends(std::span(bytes).subspan(i, 1));
        ASSERT_EQ(socket->receive(message).value(), i + 1 == bytes.size());
    }
    EXPECT_EQ(message.bytes, bytes);
}

TEST_F(MessageSocketTest, Fds_StayWithTheirMessage) {
    const std::array<UniqueFd, 3> files{create_memfd("a", 1).value(), create_memfd("b", 1).value(),
                                        create_memfd("c", 1).value()};
    const std::array<int, 2> two{files[0].get(), files[1].get()};
    const std::array<int, 1> one{files[2].get()};
    peer_sends(message_of(1, 0));
    peer_sends(message_of(2, 30), two);
    peer_sends(message_of(3, 0), one);
    peer_sends(message_of(4, 5));
    std::vector<std::vector<ino_t>> received;
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(socket->receive(message).value());
        received.emplace_back();
        for (const UniqueFd& fd : message.fds) {
            received.back().push_back(identity(fd.get()));
            EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
        }
    }
    EXPECT_EQ(received, (std::vector<std::vector<ino_t>>{
                            {}, {identity(two[0]), identity(two[1])}, {identity(one[0])}, {}}));
}

TEST_F(MessageSocketTest, FdsInTheMiddleOfAMessage_BelongToIt) {
    const UniqueFd file = create_memfd("a", 1).value();
    const std::array<int, 3> fds{file.get(), file.get(), file.get()};
    const auto bytes = message_of(1, 20);
    peer_sends(std::span(bytes).first(4), std::span(fds).first(1));
    EXPECT_FALSE(socket->receive(message).value());
    peer_sends(std::span(bytes).subspan(4, 10), std::span(fds).first(2));
    EXPECT_FALSE(socket->receive(message).value());
    peer_sends(std::span(bytes).subspan(14));
    ASSERT_TRUE(socket->receive(message).value());
    EXPECT_EQ(message.fds.size(), 3u);
}

TEST_F(MessageSocketTest, TooManyFds_EndTheConnectionAndAreClosed) {
    const UniqueFd file = create_memfd("a", 1).value();
    for (const size_t count : {5u, 64u, 65u, 200u}) {
        connect();
        const std::vector<int> fds(count, file.get());
        ASSERT_TRUE(testing::all_files_are_closed());
        const size_t before = testing::open_fds();
        peer_sends(message_of(1, 0), fds);
        const auto received = socket->receive(message);
        ASSERT_FALSE(received) << count;
        EXPECT_EQ(received.error().code, ErrorCode::kProtocol);
        ASSERT_TRUE(testing::all_files_are_closed());
        EXPECT_EQ(testing::open_fds(), before) << count;
    }
}

TEST_F(MessageSocketTest, FdsPiledUpInOneMessage_AreTooManyTogether) {
    const UniqueFd file = create_memfd("a", 1).value();
    const std::array<int, 3> fds{file.get(), file.get(), file.get()};
    const auto bytes = message_of(1, 20);
    ASSERT_TRUE(testing::all_files_are_closed());
    const size_t before = testing::open_fds();
    peer_sends(std::span(bytes).first(10), fds);
    EXPECT_FALSE(socket->receive(message).value());
    peer_sends(std::span(bytes).subspan(10), fds);
    EXPECT_EQ(socket->receive(message).error().code, ErrorCode::kProtocol);
    ASSERT_TRUE(testing::all_files_are_closed());
    EXPECT_EQ(testing::open_fds(), before);
}

TEST_F(MessageSocketTest, OversizePayload_EndsTheConnectionBeforeItIsRead) {
    peer_sends(bytes_of(Header{kLimits.max_payload + 1, 1}));
    EXPECT_EQ(socket->receive(message).error().code, ErrorCode::kProtocol);
    EXPECT_LT(message.bytes.capacity(), kLimits.max_payload);
}

TEST_F(MessageSocketTest, LargestPayload_IsReceived) {
    const auto bytes = message_of(1, kLimits.max_payload);
    size_t sent = 0;
    while (!socket->receive(message).value()) {
        const ssize_t size = ::send(peer.get(), bytes.data() + sent, bytes.size() - sent,
                                    MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size > 0) sent += static_cast<size_t>(size);
    }
    EXPECT_EQ(message.bytes, bytes);
}

TEST_F(MessageSocketTest, RefusedHeader_EndsTheConnection) {
    peer_sends(message_of(0xbad, 0));
    const auto received = socket->receive(message);
    EXPECT_EQ(received.error().message, "Type 0xbad is unknown.");
}

TEST_F(MessageSocketTest, PeerThatCloses_IsToldApartFromSilence) {
    EXPECT_FALSE(socket->receive(message).value());
    peer.reset();
    EXPECT_EQ(socket->receive(message).error().code, ErrorCode::kClosed);
}

TEST_F(MessageSocketTest, PeerThatClosesInAMessage_GivesNoMessage) {
    for (const size_t part : {1u, 7u, 8u, 27u}) {
        connect();
        const auto bytes = message_of(1, 20);
        peer_sends(std::span(bytes).first(part));
        peer.reset();
        EXPECT_EQ(socket->receive(message).error().code, ErrorCode::kClosed) << part;
    }
}

TEST_F(MessageSocketTest, Send_JoinsItsParts) {
    const auto first = message_of(1, 3);
    const auto second = message_of(2, 5);
    const std::array<std::span<const std::byte>, 3> parts{first, {}, second};
    ASSERT_TRUE(socket->send(parts));
    std::array<std::byte, 64> buffer;
    const ssize_t size = ::recv(peer.get(), buffer.data(), buffer.size(), 0);
    auto expected = first;
    expected.insert(expected.end(), second.begin(), second.end());
    ASSERT_EQ(size, static_cast<ssize_t>(expected.size()));
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), buffer.begin()));
    EXPECT_EQ(socket->unsent(), 0u);
}

TEST_F(MessageSocketTest, SendOfTooManyParts_IsAnError) {
    const std::vector<std::span<const std::byte>> parts(9);
    EXPECT_EQ(socket->send(parts).error().code, ErrorCode::kInvalidParameter);
    const std::vector<int> fds(65, peer.get());
    EXPECT_EQ(socket->send(message_of(1, 1), fds).error().code, ErrorCode::kInvalidParameter);
}

// The peer reads slowly and in odd pieces: nothing is lost, doubled or reordered, fds included.
TEST_F(MessageSocketTest, WhatThePeerDoesNotTake_IsKeptAndFlushedInOrder) {
    const int small = 4096;
    ASSERT_EQ(::setsockopt(socket->fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    MessageSocket reader(std::move(peer), kLimits, payload_size);
    std::mt19937 random(1);
    std::vector<UniqueFd> files;
    uint32_t next_sent = 0;
    uint32_t next_received = 0;
    bool waited = false;
    const auto receive_some = [&](uint32_t most) {
        for (uint32_t i = 0; i < most; ++i) {
            const auto received = reader.receive(message);
            ASSERT_TRUE(received) << received.error().message;
            if (!*received) break;
            const size_t payload = message.bytes.size() - sizeof(Header);
            ASSERT_EQ(message.bytes, message_of(next_received, payload));
            ASSERT_EQ(message.fds.size(), next_received % 3 == 0 ? 1u : 0u);
            if (!message.fds.empty()) {
                ASSERT_EQ(identity(message.fds[0].get()), identity(files[next_received / 3].get()));
            }
            ++next_received;
        }
    };
    while (next_sent < 300) {
        if (socket->unsent() < kLimits.max_unsent / 2) {
            std::vector<int> fds;
            if (next_sent % 3 == 0) {
                files.push_back(create_memfd("numbered", 1).value());
                fds.push_back(files.back().get());
            }
            ASSERT_TRUE(socket->send(message_of(next_sent, random() % 20000), fds));
            ++next_sent;
        }
        waited |= socket->unsent() != 0;
        if (random() % 2 == 0) receive_some(random() % 4);
        ASSERT_TRUE(socket->flush());
    }
    while (next_received < next_sent) {
        ASSERT_TRUE(socket->flush());
        receive_some(10);
    }
    EXPECT_TRUE(waited) << "the test did not test what it is for";
    EXPECT_EQ(socket->unsent(), 0u);
}

TEST_F(MessageSocketTest, PeerThatNeverReads_IsEndedAtTheLimit) {
    const auto bytes = message_of(1, 10000);
    Result<void> result;
    for (int i = 0; i < 1000 && result; ++i) {
        result = socket->send(bytes);
        ASSERT_LE(socket->unsent(), kLimits.max_unsent);
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kProtocol);
    EXPECT_GT(socket->unsent(), kLimits.max_unsent / 2);
}

TEST_F(MessageSocketTest, PeerThatNeverReads_CannotHoldAllFds) {
    const UniqueFd file = create_memfd("a", 1).value();
    const std::vector<int> fds(4, file.get());
    ASSERT_TRUE(socket->send(message_of(1, 240000)));
    while (socket->unsent() == 0) ASSERT_TRUE(socket->send(message_of(1, 10000)));
    ASSERT_TRUE(testing::all_files_are_closed());
    const size_t before = testing::open_fds();
    Result<void> result;
    for (int i = 0; i < 10000 && result; ++i) result = socket->send(message_of(2, 0), fds);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kProtocol);
    EXPECT_LE(testing::open_fds() - before, 256u);
    socket.reset();
    EXPECT_LE(testing::open_fds(), before) << "they die with the socket";
}

TEST_F(MessageSocketTest, SendToAClosedPeer_IsAnErrorAndNoSignal) {
    peer.reset();
    EXPECT_EQ(socket->send(message_of(1, 1)).error().code, ErrorCode::kClosed);
}

TEST_F(MessageSocketTest, FlushToAClosedPeer_IsAnErrorAndNoSignal) {
    while (socket->unsent() == 0) ASSERT_TRUE(socket->send(message_of(1, 10000)));
    peer.reset();
    EXPECT_EQ(socket->flush().error().code, ErrorCode::kClosed);
}

TEST_F(MessageSocketTest, Receive_ReusesItsMemory) {
    peer_sends(message_of(1, 1000));
    ASSERT_TRUE(socket->receive(message).value());
    const std::byte* const data = message.bytes.data();
    peer_sends(message_of(2, 900));
    ASSERT_TRUE(socket->receive(message).value());
    EXPECT_EQ(message.bytes.data(), data);
}

class UnixSocketTest : public ::testing::Test {
  protected:
    UnixSocketTest() {
        std::string name = std::filesystem::temp_directory_path() / "socket-test-XXXXXX";
        folder = ::mkdtemp(name.data());
    }
    ~UnixSocketTest() override { std::filesystem::remove_all(folder); }
    std::filesystem::path folder;
};

TEST_F(UnixSocketTest, Connection_ReachesTheListener) {
    const std::string path = folder / "socket";
    const UniqueFd listener = listen_unix(path).value();
    EXPECT_FALSE(accept_unix(listener.get()).value()) << "none is waiting";
    const UniqueFd client = connect_unix(path).value();
    const UniqueFd server = accept_unix(listener.get()).value();
    ASSERT_TRUE(server);
    EXPECT_TRUE(::fcntl(server.get(), F_GETFL) & O_NONBLOCK);
    EXPECT_EQ(::fcntl(server.get(), F_GETFD), FD_CLOEXEC);
    ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
    std::array<char, 8> buffer{};
    EXPECT_EQ(::recv(server.get(), buffer.data(), buffer.size(), 0), 5);
    EXPECT_STREQ(buffer.data(), "hello");
}

TEST_F(UnixSocketTest, Socket_IsForItsUserAlone) {
    const std::string path = folder / "socket";
    const UniqueFd listener = listen_unix(path).value();
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST_F(UnixSocketTest, StaleSocket_IsReplaced) {
    const std::string path = folder / "socket";
    {
        const UniqueFd dead = listen_unix(path).value();
    }
    ASSERT_TRUE(std::filesystem::exists(path));
    EXPECT_TRUE(listen_unix(path));
}

TEST_F(UnixSocketTest, LivingSocket_IsNotTakenAway) {
    const std::string path = folder / "socket";
    const UniqueFd first = listen_unix(path).value();
    EXPECT_FALSE(listen_unix(path));
    EXPECT_TRUE(connect_unix(path));
}

TEST_F(UnixSocketTest, OtherFiles_AreLeftAlone) {
    const std::string path = folder / "file";
    std::ofstream(path) << "precious";
    EXPECT_FALSE(listen_unix(path));
    EXPECT_EQ(std::filesystem::file_size(path), 8u);
    const std::string link = folder / "link";
    {
        const UniqueFd dead = listen_unix(folder / "socket").value();
    }
    std::filesystem::create_symlink(folder / "socket", link);
    EXPECT_FALSE(listen_unix(link)) << "a link is not followed";
}

TEST_F(UnixSocketTest, PeerProcess_IsWatched) {
    const auto [ours, theirs] = testing::socket_pair();
    const UniqueFd self = peer_process(ours.get()).value();
    pollfd ended{self.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 0), 0);
    EXPECT_EQ(::fcntl(self.get(), F_GETFD), FD_CLOEXEC);
    const UniqueFd lonely(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_FALSE(peer_process(lonely.get()));
    EXPECT_FALSE(peer_process(-1));
}

TEST_F(UnixSocketTest, PeerProcessThatEndedBefore_IsKnownToHaveEnded) {
    const UniqueFd listener = listen_unix(folder / "socket").value();
    const pid_t program = ::fork();
    if (program == 0) {
        static_cast<void>(connect_unix(folder / "socket").value().release());
        ::_exit(0);
    }
    ASSERT_EQ(::waitpid(program, nullptr, 0), program);
    const UniqueFd connection = accept_unix(listener.get()).value();
    const auto process = peer_process(connection.get());
    if (!process) {
        EXPECT_EQ(process.error().code, ErrorCode::kClosed);
        return;
    }
    pollfd ended{process->get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 0), 1);
}

TEST_F(UnixSocketTest, OtherEnd_IsOfTheSameProcessOrRefused) {
    const auto [ours, theirs] = testing::socket_pair();
    const auto [connection, peer] = testing::socket_pair();
    EXPECT_TRUE(check_same_peer(ours.get(), connection.get()));
    const UniqueFd lonely(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_FALSE(check_same_peer(lonely.get(), connection.get())) << "it has no other end";
    EXPECT_FALSE(check_same_peer(-1, connection.get()));
    EXPECT_FALSE(check_same_peer(-1, -1));
    EXPECT_FALSE(check_same_peer(lonely.get(), lonely.get())) << "nobody is not somebody";
    // What a service listens at is of the process that called listen().
    const std::string path = folder / "service";
    std::array<int, 2> ready{};
    ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
    const UniqueFd is_ready(ready[0]);
    UniqueFd tells(ready[1]);
    const pid_t service = ::fork();
    if (service == 0) {
        const auto listener = listen_unix(path);
        static_cast<void>(!::write(tells.get(), "r", 1));
        ::pause();
        ::_exit(0);
    }
    tells.reset();
    char byte = 0;
    ASSERT_EQ(::read(is_ready.get(), &byte, 1), 1);
    const UniqueFd client = connect_unix(path).value();
    EXPECT_FALSE(check_same_peer(client.get(), connection.get()));
    EXPECT_TRUE(check_same_peer(client.get(), client.get()));
    ::kill(service, SIGKILL);
    ::waitpid(service, nullptr, 0);
}

TEST_F(UnixSocketTest, ImpossiblePaths_AreErrors) {
    EXPECT_FALSE(listen_unix(""));
    EXPECT_FALSE(listen_unix(folder / std::string(108, 'x')));
    EXPECT_FALSE(connect_unix(folder / std::string(108, 'x')));
    EXPECT_FALSE(connect_unix(folder / "nobody"));
    EXPECT_FALSE(listen_unix(folder / "no" / "folder"));
}

}  // namespace
}  // namespace swede
