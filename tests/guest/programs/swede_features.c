// SPDX-License-Identifier: Apache-2.0
// What the driver offers to programs, and the test renderer's capset.
#include "virtgpu.h"

int main(void) {
    const int node = open_node();
    printf("SWEDE features 3d=%d resource_blob=%d host_visible=%d context_init=%d capsets=%#x\n",
           get_param(node, PARAM_3D), get_param(node, PARAM_BLOB),
           get_param(node, PARAM_HOST_VISIBLE), get_param(node, PARAM_CONTEXT_INIT),
           (unsigned)get_param(node, PARAM_CAPSETS));

    struct swede_test_capset capset = {0};
    struct virtgpu_get_caps get = {.capset = SWEDE_TEST_CAPSET_ID,
                                   .version = SWEDE_TEST_CAPSET_VERSION,
                                   .address = (uintptr_t)&capset,
                                   .size = sizeof capset};
    need(ioctl(node, IOCTL_GET_CAPS, &get) == 0, "get_caps %d", SWEDE_TEST_CAPSET_ID);
    need(capset.magic == SWEDE_TEST_CAPSET_MAGIC, "the capset begins with %#x", capset.magic);

    // Neither a capset that nobody offers nor more rings than Linux has.
    struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, SWEDE_TEST_CAPSET_ID - 1}};
    struct virtgpu_context_init init = {.count = 1, .params = (uintptr_t)params};
    need(ioctl(node, IOCTL_CONTEXT_INIT, &init) != 0, "a context of capset %d is made",
         SWEDE_TEST_CAPSET_ID - 1);
    close(node);

    const int context = open_context();
    run(context, (struct swede_test_command){.operation = SWEDE_TEST_DELAY}, "the first command");
    printf("SWEDE features capset=%d max_rings=%u max_blob_size=%llu ok=1\n", SWEDE_TEST_CAPSET_ID,
           capset.max_rings, (unsigned long long)capset.max_blob_size);
    return 0;
}
