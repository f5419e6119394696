#version 300 es
precision highp float;
uniform vec3 corner;  // left and top of the piece, in clip space
uniform vec3 extent;
out vec2 spot;
void main() {
  vec2 part = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  spot = part;
  gl_Position = vec4(corner.x + part.x * extent.x, corner.y - part.y * extent.y, 0.0, 1.0);
}
