#version 300 es
// Light is worked out for each vertex; a fragment only looks its colour up. On a software GL the fragments are what costs.
precision highp float;
layout(location = 0) in vec3 place;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 chart;
layout(location = 3) in float shade;
layout(location = 4) in float gloss;
uniform mat4 turn;    // head and neck
uniform mat4 camera;  // projection and view
uniform vec3 viewer;
out vec2 spot;
out vec4 light;       // and last how near the mirrored light is, times the root of the highlight's strength that the power of 16 takes back

const vec3 KEY = vec3(0.406, 0.487, 0.773), FILL = vec3(-0.832, 0.104, 0.545);
const vec3 KEY_COLOUR = vec3(0.70, 0.655, 0.61), FILL_COLOUR = vec3(0.20, 0.225, 0.265);
const vec3 SKY = vec3(0.47, 0.475, 0.49), GROUND = vec3(0.33, 0.275, 0.26), RIM = vec3(0.24, 0.27, 0.33);
const vec3 SOFT = vec3(0.34, 0.17, 0.12);  // red light goes a little way round a corner under the skin

// The head follows its joints, the shoulders do not: 1 above the jaw, 0 at the base of the neck.
float follow(vec3 p) {
  float part = clamp((p.y + 1.50) / 0.75 + 0.9 * max(0.0, p.z + 0.40), 0.0, 1.0);
  return part * part * (3.0 - 2.0 * part);
}

void main() {
  float part = follow(place);
  vec3 p = mix(place, (turn * vec4(place, 1.0)).xyz, part);
  vec3 n = normalize(mix(normal, mat3(turn) * normal, part));
  vec3 to_viewer = normalize(viewer - p);
  float edge = 1.0 - max(dot(n, to_viewer), 0.0);
  edge *= edge;
  vec3 lit = KEY_COLOUR * max(vec3(0.0), (vec3(dot(n, KEY)) + SOFT) / (1.0 + SOFT)) * mix(1.0, shade, 0.5)
        + FILL_COLOUR * max(vec3(0.0), (vec3(dot(n, FILL)) + SOFT) / (1.0 + SOFT))
        + mix(GROUND, SKY, n.y * 0.5 + 0.5) * shade
        + RIM * edge * edge * shade;
  spot = chart;
  light = vec4(lit, max(dot(n, normalize(KEY + to_viewer)), 0.0) * pow(0.55 * gloss * shade, 0.0625));
  gl_Position = camera * vec4(p, 1.0);
}
