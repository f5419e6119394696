#version 300 es
// A room out of focus: a window with daylight on the left, a lamp on the right.
precision highp float;
in vec2 corner;
in vec2 spot;
uniform vec3 view;
uniform vec3 wall;
out vec4 colour;

const float BLUR = 0.13;
const vec4 LAMPS[5] = vec4[5](  // places, radii and strengths
  vec4(0.60, 0.36, 0.17, 0.30), vec4(0.80, 0.22, 0.24, 0.42), vec4(0.71, 0.30, 0.13, 0.26), vec4(0.93, 0.50, 0.19, 0.24), vec4(0.74, -0.08, 0.10, 0.20));

// Less than one step of the screen's colours, so that no bands are seen (Jimenez 2014).
float dither() { return (fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5) / 255.0; }

float within(float low, float high, float at) { return smoothstep(low - BLUR, low + BLUR, at) * smoothstep(high + BLUR, high - BLUR, at); }

void main() {
  float left = -view.x - 0.25, right = -0.30 * view.x, sill = view.z - 0.38 * view.y;
  float part = (spot.x - left) / (right - left), bar = abs(part - 0.52) * (right - left);
  float rail = abs(spot.y - (sill + 1.05));
  float glass = within(left, right, spot.x) * smoothstep(sill - BLUR, sill + BLUR, spot.y);
  glass *= (0.25 + 0.75 * smoothstep(0.0, 0.15, bar)) * (0.35 + 0.65 * smoothstep(0.0, 0.14, rail));
  float up = clamp((spot.y - sill) / (0.9 + 0.5 * view.y), 0.0, 1.0);
  float trees = 0.5 + 0.5 * sin(3.1 * spot.x + 0.6) * sin(2.2 * spot.x + 4.1 * spot.y);
  vec3 outside = mix(mix(vec3(0.34, 0.42, 0.31), vec3(0.45, 0.50, 0.36), trees), vec3(0.60, 0.66, 0.70), smoothstep(0.10, 0.62, up + 0.10 * trees));

  float glow = 0.0;
  for (int n = 0; n < 5; n++) {
    float far = length(spot - vec2(LAMPS[n].x * view.x, LAMPS[n].y * view.y + view.z)) / LAMPS[n].z;
    glow += LAMPS[n].w * (smoothstep(1.15, 0.80, far) * (0.80 + 0.20 * far) + 0.45 * exp(-0.28 * far * far));
  }
  float day = exp(-1.1 * max(0.0, spot.x - right) / view.x);
  vec3 c = wall * (vec3(0.36, 0.37, 0.40) + vec3(0.52, 0.53, 0.50) * day);
  c = mix(c, vec3(0.66, 0.44, 0.23), min(glow, 0.85));
  c = mix(c, outside * (0.35 + 0.65 * wall / max(max(wall.r, wall.g), max(wall.b, 0.01))), glass);
  c *= 1.0 - 0.28 * smoothstep(0.5, 2.1, dot(corner, corner)) - 0.25 * smoothstep(0.1, -1.1, corner.y);
  colour = vec4(c + dither(), 1.0);
}
