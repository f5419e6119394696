#version 300 es
precision highp float;
uniform vec3 aspect;  // width over height first
out vec2 spot;
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  spot = vec2(corner.x * aspect.x, corner.y - 0.1);
  gl_Position = vec4(corner, 0.0, 1.0);
}
