#version 450
// SPDX-License-Identifier: Apache-2.0
layout(location = 0) in vec2 texel;
layout(location = 0) out vec4 pixel;
layout(binding = 0) uniform sampler2D picture;
layout(binding = 1) uniform Tint { vec4 tint; } uniforms;
layout(push_constant) uniform Push { vec4 colour; vec2 offset; float scale; float depth; } push;
void main() { pixel = texture(picture, texel) * uniforms.tint * push.colour; }
