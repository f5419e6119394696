#version 300 es
// A painted canvas: a pool of warm light behind the shoulder, cool shade on the other side.
precision highp float;
in vec2 corner;
in vec2 spot;
uniform vec3 view;
uniform vec3 wall;
out vec4 colour;

// Less than one step of the screen's colours, so that no bands are seen (Jimenez 2014).
float dither() { return (fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5) / 255.0; }

void main() {
  vec2 away = (spot - vec2(0.62, 0.30)) / vec2(0.55 + 0.62 * view.x, 0.75 + 0.45 * view.y);
  float pool = exp(-1.5 * dot(away, away));
  float side = smoothstep(-1.1, 1.1, spot.x / view.x);
  vec2 p = spot + 0.35 * sin(1.7 * spot.yx + vec2(0.4, 2.1));
  float cloth = sin(2.3 * p.x + 1.1 * p.y) * sin(1.9 * p.y - 0.8 * p.x + 1.0) + 0.5 * sin(5.1 * p.x + 3.7 * p.y) * sin(4.3 * p.y - 2.9 * p.x);
  vec3 c = wall * mix(vec3(0.40, 0.48, 0.56), vec3(0.66, 0.50, 0.38), side) + wall * vec3(1.42, 0.94, 0.60) * pool;
  c *= 1.0 + 0.07 * cloth;
  float rim = dot(corner, corner);
  c *= 1.0 - 0.30 * smoothstep(0.5, 2.1, rim) - 0.12 * smoothstep(0.2, -1.0, corner.y);
  colour = vec4(c + dither(), 1.0);
}
