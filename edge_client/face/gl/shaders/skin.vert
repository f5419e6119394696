#version 300 es
// Light is worked out for each vertex; a fragment only looks its colour up. On a software GL the fragments are what costs.
// With HIGH the fragments work it out, and vertices only say what of it reaches them.
precision highp float;
layout(location = 0) in vec3 place;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 chart;
layout(location = 3) in float shade;
layout(location = 4) in float gloss;
uniform mat4 turn;    // head and neck
uniform mat4 camera;  // projection and view
uniform vec3 viewer;
uniform vec3 mouth;   // how far it is open, 0 to 1; 1 if what lies in the lowest rows of the paint is inside it
out vec2 spot;
#ifdef HIGH
out vec3 facing;
out vec3 sight;       // to the viewer
out vec4 surface;     // shade, gloss, what the jaw leaves of the key light, and 1 inside the mouth
#endif
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

// What the jaw, taken as a ball that turns with the head, leaves of the key light on the neck.
float under_the_jaw(vec3 p, vec3 rest) {
  vec3 off = p - (turn * vec4(0.0, -0.52, -0.30, 1.0)).xyz;
  float ahead = dot(off, KEY), past = sqrt(max(0.0, dot(off, off) - ahead * ahead));
  float dark = smoothstep(0.92, 0.42, past) * smoothstep(0.05, -0.35, ahead) * smoothstep(-0.74, -1.00, rest.y);
  return 1.0 - 0.80 * dark;
}

void main() {
  float part = follow(place);
  vec3 p = mix(place, (turn * vec4(place, 1.0)).xyz, part);
  vec3 n = normalize(mix(normal, mat3(turn) * normal, part));
  vec3 to_viewer = normalize(viewer - p);
  float edge = 1.0 - max(dot(n, to_viewer), 0.0);
  edge *= edge;
  float open = under_the_jaw(p, place);
  // Inside the mouth light comes through the lips: the less, the further back, to the side, and the more they are shut.
  float inside = mouth.y * step(chart.y, 0.03);
  float reached = shade * mix(1.0, mix(0.88, 1.0, mouth.x) * (1.0 - 0.48 * smoothstep(0.12, 0.30, abs(place.x))), inside);
  spot = chart;
  gl_Position = camera * vec4(p, 1.0);
#ifdef HIGH
  facing = n;
  sight = viewer - p;
  surface = vec4(reached, gloss, open, inside);
#endif
  vec3 lit = KEY_COLOUR * max(vec3(0.0), (vec3(dot(n, KEY)) + SOFT) / (1.0 + SOFT)) * mix(1.0, reached, 0.5 + 0.5 * inside) * open
        + FILL_COLOUR * max(vec3(0.0), (vec3(dot(n, FILL)) + SOFT) / (1.0 + SOFT))
        + mix(GROUND, SKY, n.y * 0.5 + 0.5) * reached * mix(1.0, open, 0.5)
        + RIM * edge * edge * reached;
  light = vec4(lit, max(dot(n, normalize(KEY + to_viewer)), 0.0) * pow(0.55 * gloss * reached * open, 0.0625));
}
