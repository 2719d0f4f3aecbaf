// SPDX-License-Identifier: Apache-2.0
// Makes instances with a device each and does nothing more: vk_idle [--devices N]. Says a line when
// they are there; somebody has to end it.
#include <unistd.h>

#include <memory>

#include "vk_lab.h"

using namespace swede::lab;

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const uint64_t devices = options.number("devices", 1);
    std::vector<std::unique_ptr<Gpu>> gpus;
    while (gpus.size() < devices) gpus.push_back(std::make_unique<Gpu>());
    say({{"program", "vk_idle"}, {"devices", static_cast<int64_t>(devices)}});
    ::pause();
}
