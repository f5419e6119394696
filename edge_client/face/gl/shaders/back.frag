#version 300 es
precision mediump float;
in vec2 spot;
out vec4 colour;
void main() {
  float far = clamp(dot(spot, spot) * 0.42, 0.0, 1.0);
  colour = vec4(mix(vec3(0.270, 0.330, 0.410), vec3(0.075, 0.095, 0.135), far * (2.0 - far)), 1.0);
}
