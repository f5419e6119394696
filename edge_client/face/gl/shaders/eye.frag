#version 300 es
precision mediump float;
in vec3 local;
in vec3 facing;
in float below_lid;
out vec4 colour;
const float IRIS = 0.435, PUPIL = 0.165;
void main() {
  float r = length(local.xy) / max(length(local), 0.001);
  float turn = atan(local.y, local.x);
  float rays = 0.5 + 0.25 * sin(turn * 23.0) + 0.25 * sin(turn * 37.0 + r * 18.0);
  vec3 white = mix(vec3(0.95, 0.935, 0.925), vec3(0.82, 0.70, 0.67), smoothstep(0.50, 0.95, r));
  vec3 iris = mix(vec3(0.25, 0.38, 0.42), vec3(0.44, 0.57, 0.56), rays * smoothstep(IRIS, PUPIL, r));
  iris = mix(iris, vec3(0.50, 0.44, 0.30), 0.7 * smoothstep(0.29, 0.17, r));
  iris *= mix(1.0, 0.34, smoothstep(0.36, IRIS, r)) * (1.0 + 0.35 * smoothstep(0.1, -0.4, local.y));
  vec3 c = mix(iris, white, smoothstep(IRIS - 0.02, IRIS + 0.025, r));
  c = mix(vec3(0.025), c, smoothstep(PUPIL - 0.015, PUPIL + 0.025, r));
  vec3 n = normalize(facing);
  float lit = 0.62 + 0.42 * max(dot(n, vec3(0.406, 0.487, 0.773)), 0.0);
  lit *= 1.0 - 0.50 * smoothstep(0.06, 0.50, below_lid) - 0.12 * smoothstep(-0.25, -0.55, below_lid);
  float window = smoothstep(0.9905, 0.9940, dot(n, vec3(0.215, 0.165, 0.9626)));  // where the key light is mirrored, seen from the front
  float floor_light = smoothstep(0.990, 0.996, dot(n, vec3(-0.245, -0.165, 0.9554)));
  colour = vec4(c * lit + window * 0.85 + floor_light * 0.16, 1.0);
}
