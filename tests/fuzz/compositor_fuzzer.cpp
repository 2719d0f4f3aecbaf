// SPDX-License-Identifier: Apache-2.0
// A hostile compositor: bytes and files of every kind to a guest that asks and believes what it
// reads. What arrives must be what was sent, in order, until the end of the stream.
// make_cross_domain_seeds.py writes seeds.
// Parsers: src/cross_domain/channel.cpp src/cross_domain/stream_socket.cpp
// src/cross_domain/received_file.cpp src/cross_domain/channel_pipes.cpp
#include <chrono>
#include <thread>

#include "cross_domain/stream_socket.h"
#include "cross_domain_world.h"

namespace {

using namespace swede;
using namespace swede::fuzz;

constexpr size_t kMostPipes = 8;
constexpr size_t kMaxSteps = 60;

class Compositor {
  public:
    explicit Compositor(FuzzedDataProvider& input) : input_(input) {}

    void run() {
        // A first SEND tells the dialect.
        few_ = input_.ConsumeBool();
        require(world_.init());
        connection_ = CrossDomainWorld::socket().accept();
        require(bool(connection_));
        require(world_.submit(send()));
        ++told_bytes_;
        for (size_t i = 0; i < kMaxSteps && input_.remaining_bytes() != 0; ++i) {
            step();
            read_message();
            world_.settle();
        }
    }

  private:
    /// The next bytes of what the guest tells; with a pipe that it reads, if it has an id.
    [[nodiscard]] std::vector<std::byte> send(size_t size = 1, uint32_t pipe = 0) {
        const uint32_t max = few_ ? kFewIdentifiers : kManyIdentifiers;
        const uint32_t start = send_receive_size(max);
        std::vector<std::byte> bytes(start + size);
        const SendReceive head{{4, 0, static_cast<uint16_t>(start + size), 0},
                               pipe != 0 ? 1u : 0u,
                               static_cast<uint32_t>(size)};
        std::memcpy(bytes.data(), &head, sizeof(head));
        const auto type = static_cast<uint32_t>(IdentifierType::kReadPipe);
        std::memcpy(bytes.data() + sizeof(head), &pipe, sizeof(pipe));
        if (pipe != 0)
            std::memcpy(bytes.data() + sizeof(head) + max * sizeof(pipe), &type, sizeof(type));
        for (size_t i = 0; i < size; ++i)
            bytes[start + i] = static_cast<std::byte>((told_bytes_ + i) * 5);
        return bytes;
    }

    void step() {
        switch (input_.ConsumeIntegralInRange<uint8_t>(0, 11)) {
            case 0:
            case 1:
            case 2:
                say();
                break;
            case 3:
                connection_.reset();
                break;
            case 4: {  // what the guest does with an id
                const uint32_t id = id_of_some();
                const ReadWrite write{{7, 0, 32, 0}, id, input_.ConsumeBool(), 8, 0};
                std::vector<std::byte> bytes(sizeof(write) + 8);
                std::memcpy(bytes.data(), &write, sizeof(write));
                static_cast<void>(world_.submit(bytes));
                break;
            }
            case 5:
                world_.create_blob(50, id_of_some(),
                                   input_.ConsumeIntegralInRange<uint64_t>(0, 9000));
                world_.destroy_blob(50);
                break;
            case 6: {
                const ReadCreateEvent event{{11, 0, 16, 0}, id_of_some(), 0};
                static_cast<void>(world_.submit(bytes_of(event)));
                break;
            }
            case 7: {
                const uint64_t one = 1;
                static_cast<void>(::write(sendable_files()[5].get(), &one, sizeof(one)));
                break;
            }
            case 8:
                tell();
                break;
            case 9:
                hear();
                break;
            case 10:  // of a paste
                if (!pipes_.empty())
                    static_cast<void>(
                        ::write(pipes_.back().get(), "paste",
                                input_.ConsumeIntegralInRange<size_t>(1, std::size("paste"))));
                break;
            case 11:
                if (!pipes_.empty()) pipes_.pop_back();
                break;
        }
    }

    /// More than the socket takes, perhaps: then it waits until it is heard, or is too much.
    void tell() {
        const size_t times = input_.ConsumeIntegralInRange<size_t>(1, 200);
        const size_t size = input_.ConsumeIntegralInRange<size_t>(1, 3000);
        const bool pipe = input_.ConsumeBool();
        for (size_t i = 0; i < times; ++i) {
            if (!world_.submit(send(size, pipe && i == 0 ? next_pipe_++ : 0))) return;
            told_bytes_ += size;
        }
    }

    void hear() {
        std::array<std::byte, 65536> bytes;
        while (connection_) {
            std::vector<UniqueFd> files;
            const auto count = cross_domain::receive_some(connection_.get(), bytes, files);
            for (UniqueFd& file : files)
                if (pipes_.size() < kMostPipes) pipes_.push_back(std::move(file));
            if (!count || !*count || **count == 0) return;
            for (size_t i = 0; i < **count; ++i)
                require(bytes[i] == static_cast<std::byte>(told_and_heard_++ * 5));
            require(told_and_heard_ <= told_bytes_);
        }
    }

    void say() {
        const size_t count = input_.ConsumeIntegralInRange<size_t>(0, 40);
        const size_t size = input_.ConsumeIntegralInRange<size_t>(1, 6000);
        std::vector<std::byte> bytes(size);
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(said_bytes_++ * 7);
        std::vector<int> fds;
        const auto files = sendable_files();
        for (size_t i = 0; i < count; ++i)
            fds.push_back(files[input_.ConsumeIntegralInRange<size_t>(0, files.size() - 1)].get());
        const ssize_t sent = connection_ ? testing::send_raw(connection_.get(), bytes, fds) : -1;
        if (sent < 0) {
            said_bytes_ -= size;
            return;
        }
        said_bytes_ -= size - static_cast<size_t>(sent);
        said_files_ += fds.size();
    }

    /// Asks, and looks at what comes, if something comes.
    void read_message() {
        if (ticket_ == 0) ticket_ = world_.poll();
        if (world_.sink().is_out(ticket_)) std::this_thread::yield();
        if (world_.sink().is_out(ticket_)) return;
        ticket_ = 0;
        std::array<std::byte, kPageSize> raw;
        world_.read_ring(raw);
        SendReceive head;
        std::memcpy(&head, raw.data(), sizeof(head));
        require(head.header.ring == 0 && head.header.size == 0 && head.header.padding == 0);
        if (head.header.command == static_cast<uint8_t>(Command::kRead)) {
            ReadWrite read;
            std::memcpy(&read, raw.data(), sizeof(read));
            require(read.opaque_size <= raw.size() - sizeof(read));
            require((read.hang_up != 0) == (read.opaque_size == 0));
            return;
        }
        require(head.header.command == static_cast<uint8_t>(Command::kReceive));
        const uint32_t max = few_ ? kFewIdentifiers : kManyIdentifiers;
        const uint32_t start = send_receive_size(max);
        require(head.num_identifiers <= max && head.opaque_size <= raw.size() - start);
        if (head.num_identifiers == 0 && head.opaque_size == 0) {
            ended_ = true;
            return;
        }
        require(!ended_ && head.opaque_size != 0);
        for (uint32_t i = 0; i < head.opaque_size; ++i)
            require(raw[start + i] == static_cast<std::byte>(heard_bytes_++ * 7));
        require(heard_bytes_ <= said_bytes_);
        for (uint32_t i = 0; i < head.num_identifiers; ++i) {
            uint32_t id;
            std::memcpy(&id, raw.data() + sizeof(head) + i * sizeof(id), sizeof(id));
            require(id >= 2 && id < kIdEnd);
            require(ids_.insert(id).second);
        }
        require(ids_.size() <= said_files_);
    }

    [[nodiscard]] uint32_t id_of_some() {
        return input_.ConsumeIntegralInRange<uint32_t>(0, static_cast<uint32_t>(ids_.size()) + 2);
    }

    FuzzedDataProvider& input_;
    CrossDomainWorld world_;
    size_t told_bytes_ = 0;  ///< by the guest
    size_t told_and_heard_ = 0;
    uint32_t next_pipe_ = 0x80000001;
    std::vector<UniqueFd> pipes_;  ///< that the compositor writes
    UniqueFd connection_;
    bool few_ = false;
    bool ended_ = false;
    uint64_t ticket_ = 0;
    size_t said_bytes_ = 0;
    size_t heard_bytes_ = 0;
    size_t said_files_ = 0;
    std::set<uint32_t> ids_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    FuzzedDataProvider input(data, size);
    Compositor(input).run();
    return 0;
}
