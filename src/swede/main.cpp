// SPDX-License-Identifier: Apache-2.0
#include "swede/program.h"

int main(int argc, char** argv) {
    return swede::run_program(argc, argv, {});
}
