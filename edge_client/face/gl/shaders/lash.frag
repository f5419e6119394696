#version 300 es
precision highp float;
in vec2 strand;  // the place along the lid, and the way from root to tip
out vec4 colour;
void main() {
  float spot = (strand.x + strand.y * (0.16 * strand.x - 0.030)) * 105.0;  // they fan out from the middle of the eye
  float chance = fract(sin(floor(spot) * 12.9898) * 43758.5453);
  float tip = 0.62 + 0.38 * chance;
  float half_wide = 0.78 * (1.0 - strand.y / tip);
  float hair = smoothstep(half_wide + 0.30, half_wide - 0.12, abs(fract(spot) - 0.5) * 2.0);
  float root = smoothstep(0.16, 0.0, strand.y);
  colour = vec4(0.070, 0.048, 0.043, 0.90 * max(hair * smoothstep(tip, 0.25 * tip, strand.y), root));
}
