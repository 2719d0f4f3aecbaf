// SPDX-License-Identifier: Apache-2.0
#include "swede/program.h"
#include "swede/renderer_verb.h"

int main(int argc, char** argv) {
    return swede::run_program(argc, argv, swede::make_gpu_renderers);
}
