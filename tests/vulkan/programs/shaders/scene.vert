#version 450
// SPDX-License-Identifier: Apache-2.0
layout(location = 0) in vec2 place;
layout(location = 0) out vec2 texel;
layout(push_constant) uniform Push { vec4 colour; vec2 offset; float scale; float depth; } push;
void main() {
    gl_Position = vec4(place * push.scale + push.offset, push.depth, 1.0);
    texel = place * 0.5 + 0.5;
}
