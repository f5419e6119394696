#version 300 es
precision highp float;
in vec2 spot;
uniform vec3 middle;
uniform vec3 rim;
out vec4 colour;
void main() {
  float far = clamp(dot(spot, spot) * 0.42, 0.0, 1.0);
  float grain = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453) - 0.5;  // so that no bands are seen
  colour = vec4(mix(middle, rim, far * (2.0 - far)) + grain / 128.0, 1.0);
}
