#version 300 es
precision highp float;
layout(location = 0) in vec3 place;
layout(location = 2) in vec2 chart;
uniform mat4 turn;
uniform mat4 camera;
out vec2 strand;
void main() {
  strand = chart;
  gl_Position = camera * turn * vec4(place, 1.0);
}
