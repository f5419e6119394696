#version 300 es
precision mediump float;
in vec3 local;
in vec3 facing;
in float lit;
uniform sampler2D paint;  // the eye seen from straight ahead
out vec4 colour;
void main() {
  vec3 c = texture(paint, local.xy * (0.5 / max(length(local), 0.001)) + 0.5).rgb;
  vec3 n = normalize(facing);
  float window = smoothstep(0.9905, 0.9940, dot(n, vec3(0.215, 0.165, 0.9626)));  // where the key light is mirrored, seen from the front
  float floor_light = smoothstep(0.990, 0.996, dot(n, vec3(-0.245, -0.165, 0.9554)));
  colour = vec4(c * lit + window * 0.85 + floor_light * 0.16, 1.0);
}
