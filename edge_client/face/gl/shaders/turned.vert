#version 300 es
precision highp float;
uniform vec3 turn;  // cosine and sine of the angle, against the clock
out vec2 spot;
void main() {
  spot = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 corner = 2.0 * spot - 1.0;
  gl_Position = vec4(turn.x * corner.x - turn.y * corner.y, turn.y * corner.x + turn.x * corner.y, 0.0, 1.0);
}
