#version 450
// SPDX-License-Identifier: Apache-2.0
layout(location = 0) out vec3 colour;
const vec2 places[3] = vec2[](vec2(0.0, -0.8), vec2(0.8, 0.8), vec2(-0.8, 0.8));
const vec3 colours[3] = vec3[](vec3(1, 0, 0), vec3(0, 1, 0), vec3(0, 0, 1));
void main() {
    gl_Position = vec4(places[gl_VertexIndex], 0.0, 1.0);
    colour = colours[gl_VertexIndex];
}
