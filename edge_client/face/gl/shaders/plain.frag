#version 300 es
// A wall that is lit in the middle.
precision highp float;
in vec2 corner;
in vec2 spot;
uniform vec3 view;
uniform vec3 wall;
out vec4 colour;

// Less than one step of the screen's colours, so that no bands are seen (Jimenez 2014).
float dither() { return (fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5) / 255.0; }

void main() {
  vec2 off = vec2(corner.x * view.x / view.y, corner.y - 0.1);
  float far = clamp(dot(off, off) * 0.42, 0.0, 1.0);
  colour = vec4(wall * mix(1.0, 0.29, far * (2.0 - far)) + dither(), 1.0);
}
