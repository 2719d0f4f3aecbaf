// SPDX-License-Identifier: Apache-2.0
// A hostile guest of cross-domain: commands of any form, mixed with blobs, fences and a compositor
// that answers now and then. make_cross_domain_seeds.py writes seeds.
// Parsers: src/cross_domain/context.cpp src/cross_domain/image_requirements.cpp
// src/cross_domain/items.cpp src/cross_domain/host_blob.cpp
// src/cross_domain/blob_copy.cpp
#include "cross_domain_world.h"

namespace {

using namespace swede;
using namespace swede::fuzz;

constexpr size_t kMaxSteps = 100;

class Guest {
  public:
    explicit Guest(FuzzedDataProvider& input) : input_(input) {}

    void run() {
        for (size_t i = 0; i < kMaxSteps && input_.remaining_bytes() != 0; ++i) {
            step();
            if (UniqueFd connection = CrossDomainWorld::socket().accept())
                compositor_.connect(std::move(connection));
            world_.settle();
        }
    }

  private:
    void step() {
        switch (input_.ConsumeIntegralInRange<uint8_t>(0, 12)) {
            case 0:
                static_cast<void>(world_.init());
                break;
            case 1: {  // a whole command with its size right
                auto bytes = some_bytes(600);
                bytes.resize(std::max(bytes.size(), sizeof(Header)));
                const uint16_t size = static_cast<uint16_t>(bytes.size());
                std::memcpy(bytes.data() + offsetof(Header, size), &size, sizeof(size));
                static_cast<void>(world_.submit(bytes));
                break;
            }
            case 2:
                static_cast<void>(world_.submit(some_bytes(2000)));
                break;
            case 3:
                world_.poll();
                break;
            case 4: {  // of some ring; the last two stand for the VMM's stop and start
                const auto ring = input_.ConsumeIntegral<uint8_t>();
                if (ring < 0xfe)
                    world_.fence(ring);
                else
                    world_.set_paused(ring == 0xff);
                break;
            }
            case 5:
                world_.create_blob(resource(), input_.ConsumeIntegralInRange<uint64_t>(0, 9),
                                   input_.ConsumeIntegralInRange<uint64_t>(0, 8 * kPageSize));
                break;
            case 6:
                world_.destroy_blob(resource());
                break;
            case 7: {  // what a compositor says, with a file
                const auto files = sendable_files();
                const int fd =
                    files[input_.ConsumeIntegralInRange<size_t>(0, files.size() - 1)].get();
                const auto bytes = some_bytes(16);
                if (compositor_ && !bytes.empty())
                    static_cast<void>(
                        testing::send_raw(compositor_.fd(), bytes, std::span(&fd, 1)));
                break;
            }
            case 8:
                compositor_.close();
                break;
            case 9:
                world_.destroy_context();
                world_.create_context();
                break;
            case 10:
                world_.place_blob(resource(), 8 * kPageSize);
                break;
            case 11:
                world_.displace_blob(resource());
                break;
            case 12:
                world_.map_blob(resource());
                break;
        }
    }
    [[nodiscard]] uint32_t resource() { return input_.ConsumeIntegralInRange<uint32_t>(50, 54); }
    [[nodiscard]] std::vector<std::byte> some_bytes(size_t most) {
        const auto bytes =
            input_.ConsumeBytes<uint8_t>(input_.ConsumeIntegralInRange<size_t>(0, most));
        const auto view = std::as_bytes(std::span(bytes));
        return {view.begin(), view.end()};
    }

    FuzzedDataProvider& input_;
    CrossDomainWorld world_{input_.ConsumeEnum<CrossDomainWorld::Memory>()};
    Channel compositor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    FuzzedDataProvider input(data, size);
    Guest(input).run();
    return 0;
}
