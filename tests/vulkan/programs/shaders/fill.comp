#version 450
// SPDX-License-Identifier: Apache-2.0
layout(local_size_x = 64) in;
layout(binding = 0) writeonly buffer Output { uint words[]; } target;
layout(push_constant) uniform Push { uint word; uint count; } push;
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < push.count) target.words[i] = push.word;
}
