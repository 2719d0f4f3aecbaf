// SPDX-License-Identifier: Apache-2.0
#include "swede/device_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/unix_socket.h"

namespace swede {
namespace {

using testing::HasSubstr;

class DeviceSocketTest : public testing::Test {
  protected:
    DeviceSocketTest() {
        std::string name =
            (std::filesystem::temp_directory_path() / "swede-socket-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        path_ = folder_ / "gpu.sock";
    }
    ~DeviceSocketTest() override { std::filesystem::remove_all(folder_); }

    /// With --fd N; the fd is the device's if it is taken.
    static Result<DeviceSocket> open_fd(int fd, Transport transport) {
        DeviceOptions options;
        options.fd = fd;
        options.transport = transport;
        return open_device_socket(options, UniqueFd());
    }
    static void expect_refused(int fd, Transport transport, std::string_view why) {
        const auto socket = open_fd(fd, transport);
        ASSERT_FALSE(socket);
        EXPECT_EQ(socket.error().code, ErrorCode::kInvalidParameter);
        EXPECT_THAT(socket.error().message, HasSubstr(fmt::format("--fd {}", fd)));
        EXPECT_THAT(socket.error().message, HasSubstr(std::string(why)));
    }

    std::filesystem::path folder_;
    std::filesystem::path path_;
};

TEST_F(DeviceSocketTest, Path_IsListenedAtAndRemovedAtTheEnd) {
    DeviceOptions options;
    options.socket_path = path_;
    {
        const auto socket = open_device_socket(options, UniqueFd());
        ASSERT_TRUE(socket) << socket.error().message;
        EXPECT_TRUE(socket->listening);
        EXPECT_TRUE(connect_unix(path_));
        struct stat status{};
        ASSERT_EQ(::lstat(path_.c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777, 0600u);
    }
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(DeviceSocketTest, AnothersFile_IsNotRemoved) {
    DeviceOptions options;
    options.socket_path = path_;
    {
        const auto socket = open_device_socket(options, UniqueFd());
        ASSERT_TRUE(socket);
        // The other file is made first, so that it cannot get the inode of ours.
        std::ofstream(folder_ / "other") << "not ours";
        std::filesystem::rename(folder_ / "other", path_);
    }
    EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(DeviceSocketTest, PathOfAFile_IsRefusedAndLeft) {
    std::ofstream(path_) << "precious";
    DeviceOptions options;
    options.socket_path = path_;
    const auto socket = open_device_socket(options, UniqueFd());
    ASSERT_FALSE(socket);
    EXPECT_THAT(socket.error().message, HasSubstr(path_.string()));
    EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(DeviceSocketTest, ListeningFd_IsForVfioUser) {
    auto listener = listen_unix(path_);
    ASSERT_TRUE(listener);
    expect_refused(listener->get(), Transport::kVhostUser, "takes a connected socket");
    expect_refused(listener->get(), Transport::kVhostUserGpu, "takes a connected socket");
    const auto socket = open_fd(listener->get(), Transport::kVfioUser);
    ASSERT_TRUE(socket) << socket.error().message;
    EXPECT_EQ(socket->fd.get(), listener->release());
    EXPECT_TRUE(socket->listening);
}

TEST_F(DeviceSocketTest, ConnectedFd_IsForVhostUser) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const UniqueFd other(ends[1]);
    expect_refused(ends[0], Transport::kVfioUser, "takes a listening socket");
    const auto socket = open_fd(ends[0], Transport::kVhostUser);
    ASSERT_TRUE(socket) << socket.error().message;
    EXPECT_FALSE(socket->listening);
    EXPECT_NE(::fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(DeviceSocketTest, FdThatIsNoStreamSocket_IsRefused) {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const UniqueFd datagrams(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const UniqueFd internet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (const Transport transport : {Transport::kVfioUser, Transport::kVhostUser})
        for (const int fd : {null.get(), datagrams.get(), internet.get()})
            expect_refused(fd, transport, "no Unix stream socket");
}

TEST_F(DeviceSocketTest, UnconnectedFd_IsRefused) {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    expect_refused(socket.get(), Transport::kVhostUser, "not connected");
    expect_refused(socket.get(), Transport::kVfioUser, "does not listen");
}

TEST_F(DeviceSocketTest, FdThatIsNotOpen_IsRefused) {
    expect_refused(1000000, Transport::kVfioUser, "no file is open");
}

TEST_F(DeviceSocketTest, PassedSocket_ListensForEveryTransport) {
    for (const Transport transport : {Transport::kVfioUser, Transport::kVhostUser}) {
        DeviceOptions options;
        options.transport = transport;
        const auto socket = open_device_socket(options, *listen_unix(path_));
        ASSERT_TRUE(socket) << socket.error().message;
        EXPECT_TRUE(socket->listening);
        std::filesystem::remove(path_);
    }
}

TEST_F(DeviceSocketTest, PassedFileThatDoesNotListen_IsRefused) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const UniqueFd other(ends[1]);
    EXPECT_FALSE(open_device_socket({}, UniqueFd(ends[0])));
    EXPECT_FALSE(open_device_socket({}, UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))));
}

}  // namespace
}  // namespace swede
