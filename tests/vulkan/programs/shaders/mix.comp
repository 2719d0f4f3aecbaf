#version 450
// SPDX-License-Identifier: Apache-2.0
// Numbers that the processor can check, word for word.
layout(local_size_x = 64) in;
layout(binding = 0) readonly buffer Input { uint words[]; } source;
layout(binding = 1) writeonly buffer Output { uint words[]; } target;
layout(push_constant) uniform Push { uint seed; uint count; } push;
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= push.count) return;
    uint x = source.words[i] ^ (push.seed + i * 2654435761u);
    x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; x ^= x >> 16;
    target.words[i] = x;
}
