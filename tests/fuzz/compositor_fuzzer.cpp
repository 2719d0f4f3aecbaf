// SPDX-License-Identifier: Apache-2.0
// A hostile compositor: bytes and files of every kind to a guest that asks and believes what it
// reads. What arrives must be what was sent, in order, until the end of the stream.
// make_cross_domain_seeds.py writes seeds.
// Parsers: src/cross_domain/channel.cpp src/cross_domain/stream_socket.cpp
// src/cross_domain/received_file.cpp src/cross_domain/channel_pipes.cpp
#include <chrono>
#include <thread>

#include "cross_domain_world.h"

namespace {

using namespace swede;
using namespace swede::fuzz;

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
        for (size_t i = 0; i < kMaxSteps && input_.remaining_bytes() != 0; ++i) {
            step();
            read_message();
            world_.sink().run();
        }
    }

  private:
    /// One byte, without identifiers.
    [[nodiscard]] std::vector<std::byte> send() const {
        const uint32_t start = send_receive_size(few_ ? kFewIdentifiers : kManyIdentifiers);
        std::vector<std::byte> bytes(start + 1);
        const SendReceive head{{4, 0, static_cast<uint16_t>(start + 1), 0}, 0, 1};
        std::memcpy(bytes.data(), &head, sizeof(head));
        return bytes;
    }

    void step() {
        switch (input_.ConsumeIntegralInRange<uint8_t>(0, 7)) {
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
